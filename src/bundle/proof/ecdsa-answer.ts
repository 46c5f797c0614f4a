const coordinateBytes = 32;

/**
 * What the answer of a signing command may mean, as DER: it is that itself, as openssl writes it; r and s of 32 bytes each,
 * as PKCS#11 has them; base64 of either; or what the agent of GnuPG answers to PKSIGN.
 */
export function signaturesIn(answer: Buffer): Buffer[] {
  const agent = ofAgent(answer);
  const plain = [answer, Buffer.from(answer.toString('latin1').trim(), 'base64')];
  const pairs = plain.filter(({ length }) => length === 2 * coordinateBytes);
  return [
    ...plain,
    ...pairs.map((pair) => derOf(pair.subarray(0, coordinateBytes), pair.subarray(coordinateBytes))),
    ...(agent ? [derOf(agent.r, agent.s)] : []),
  ];
}

/** Whether it is a signature in the form of OpenPGP, armoured or not: https://www.rfc-editor.org/rfc/rfc9580#section-5.2 */
export function isOpenPgp(answer: Buffer): boolean {
  return answer.includes('-----BEGIN PGP ') || [0x88, 0x89, 0xc2].includes(answer[0] ?? 0);
}

/** https://www.rfc-editor.org/rfc/rfc3279#section-2.2.3 */
function derOf(r: Buffer, s: Buffer): Buffer {
  const pair = Buffer.concat([integer(r), integer(s)]);
  return Buffer.concat([Buffer.from([0x30, pair.length]), pair]);
}

/** No zeros in front but the one that keeps it positive. */
function integer(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = bytes.subarray(Math.max(first, 0));
  const positive = (digits[0] ?? 0) < 0x80 ? digits : Buffer.concat([Buffer.from([0]), digits]);
  return Buffer.concat([Buffer.from([0x02, positive.length]), positive]);
}

/**
 * `D (7:sig-val(5:ecdsa(1:r32:...)(1:s32:...)))`, with bytes escaped as `%0A`:
 * https://www.gnupg.org/documentation/manuals/gnupg/Agent-PKSIGN.html
 */
function ofAgent(answer: Buffer): { r: Buffer; s: Buffer } | undefined {
  const data = /^D (\(7:sig-val\(5:ecdsa.*)$/m.exec(answer.toString('latin1'))?.[1];
  const text = data?.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const [r, s] = [numberIn(text, 'r'), numberIn(text, 's')];
  return r && s && { r, s };
}

function numberIn(text: string | undefined, name: string): Buffer | undefined {
  const start = text?.indexOf(`(1:${name}`) ?? -1;
  if (text === undefined || start < 0) return undefined;
  const [, length = ''] = /^(\d{1,2}):/.exec(text.slice(start + 4)) ?? [];
  const begin = start + 4 + length.length + 1;
  const bytes = Buffer.from(text.slice(begin, begin + Number(length)), 'latin1');
  return length !== '' && bytes.length <= coordinateBytes + 1 ? bytes : undefined;
}
