import { sign, verify } from 'node:crypto';
import { expect, it } from 'vitest';
import { isOpenPgp, signaturesIn } from '../../../src/bundle/proof/ecdsa-answer.ts';
import { makeKeyPair, readPrivateKey, readPublicKey } from '../../../src/bundle/proof/seal.ts';

const pair = makeKeyPair();
const privateKey = readPrivateKey(pair.privatePem, 'key');
const publicKey = readPublicKey(pair.publicPem, 'pub');

const isRight = (answer: Buffer, data: Buffer): boolean =>
  signaturesIn(answer).some((der) => verify('sha256', data, publicKey, der));

/** What gpg-connect-agent prints of a number: https://www.gnupg.org/documentation/manuals/gnupg/Agent-PKSIGN.html */
function escaped(bytes: Buffer): Buffer {
  const text = bytes
    .toString('latin1')
    .replace(/[%\r\n]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`);
  return Buffer.from(text, 'latin1');
}

/** libgcrypt writes numbers without zeros in front, but for one that keeps them positive. */
function agentNumber(name: string, bytes: Buffer): Buffer {
  const digits = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  const number = (digits[0] ?? 0) < 0x80 ? digits : Buffer.concat([Buffer.from([0]), digits]);
  return Buffer.concat([Buffer.from(`(1:${name}${number.length}:`), escaped(number), Buffer.from(')')]);
}

function agentAnswer(raw: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from('OK\nOK\nD (7:sig-val(5:ecdsa'),
    agentNumber('r', raw.subarray(0, 32)),
    agentNumber('s', raw.subarray(32)),
    Buffer.from('))\nOK\n'),
  ]);
}

it.each<[string, (raw: Buffer, der: Buffer) => Buffer]>([
  ['DER', (_, der) => der],
  ['base64 of DER, in lines', (_, der) => Buffer.from(`${der.toString('base64').replace(/.{64}/g, '$&\n')}\n`)],
  ['r and s', (raw) => raw],
  ['base64 of r and s', (raw) => Buffer.from(`${raw.toString('base64')}\n`)],
  ['base64 of r and s for addresses', (raw) => Buffer.from(raw.toString('base64url'))],
  ['the answer of the agent of GnuPG', (raw) => agentAnswer(raw)],
])('takes %s, whatever the numbers are', (_, make) => {
  // Of so many, some begin with a one bit, which DER writes with a byte more.
  let isHigh = false;
  for (let index = 0; index < 100; index += 1) {
    const data = Buffer.from(`sums ${index}`);
    const raw = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    isHigh ||= (raw[0] ?? 0) >= 0x80;
    const der = signaturesIn(raw).at(-1) ?? Buffer.alloc(0);

    expect(isRight(make(raw, der), data)).toBe(true);
  }
  expect(isHigh).toBe(true);
});

it.each(['', 'hello', 'OK\n', 'D (7:sig-val(5:ecdsa(1:r', 'D (7:sig-val(5:ecdsa(1:r99:x)(1:s3:abc)))', 'x'.repeat(64)])(
  'takes %j for no signature',
  (text) => {
    expect(isRight(Buffer.from(text), Buffer.from('sums'))).toBe(false);
  },
);

it('knows a signature of OpenPGP', () => {
  expect(isOpenPgp(Buffer.from('-----BEGIN PGP SIGNATURE-----\n'))).toBe(true);
  expect(isOpenPgp(Buffer.from([0x88, 0x75, 0x04, 0x00]))).toBe(true);
  expect(isOpenPgp(Buffer.from('MEUCIQ'))).toBe(false);
});
