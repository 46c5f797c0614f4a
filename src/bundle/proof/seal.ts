import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { MirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { printable } from '../../core/text.ts';
import { bundleFiles } from '../records/inventory.ts';

/** Lines of `sha256sum`: https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html */
export function formatSums(sums: ReadonlyMap<string, string>): string {
  const names = [...sums.keys()].sort();
  return names.map((name) => `${sums.get(name)}  ${name}\n`).join('');
}

/** @throws E_CORRUPT for anything but plain lines with plain names */
export function parseSums(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -1)) {
    const match = /^([0-9a-f]{64}) {2}([A-Za-z0-9][A-Za-z0-9._-]*)$/.exec(line);
    const [, hex, name] = match ?? [];
    if (hex === undefined || name === undefined)
      throw new MirrorError(
        'E_CORRUPT',
        `\`${bundleFiles.sums}\` has the line \`${printable(line.slice(0, 100))}\`, which is not a sum and a plain file name`,
      );
    if (sums.has(name)) throw new MirrorError('E_CORRUPT', `\`${bundleFiles.sums}\` names \`${name}\` twice`);
    sums.set(name, hex);
  }
  if (sums.size === 0 || !text.endsWith('\n'))
    throw new MirrorError('E_CORRUPT', `\`${bundleFiles.sums}\` is empty or cut off`);
  return sums;
}

/** An ECDSA P-256 pair as PEM: PKCS#8, encrypted where there is a passphrase, and SPKI: what openssl and cosign read. */
export function makeKeyPair(passphrase?: string): { privatePem: string; publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encryption = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** @throws E_USAGE when it is not a private P-256 key, or the passphrase does not open it */
export function readPrivateKey(pem: string, name: string, passphrase?: string): KeyObject {
  if (pem.includes('BEGIN PUBLIC KEY') && !pem.includes('PRIVATE KEY'))
    throw new MirrorError('E_USAGE', `\`${name}\` is a public key, the private one was wanted`, {
      hint: 'give the other file of the pair',
    });
  if (!pem.includes('ENCRYPTED'))
    return checkKey(
      readKey(() => createPrivateKey(pem), name, 'private'),
      name,
    );
  if (passphrase === undefined) throw noPassphrase(name);
  try {
    return checkKey(createPrivateKey({ key: pem, passphrase }), name);
  } catch (error) {
    if (error instanceof MirrorError) throw error;
    throw wrongPassphrase(name, error);
  }
}

export function noPassphrase(name: string): MirrorError {
  return new MirrorError('E_USAGE', `\`${name}\` is encrypted, and there is no passphrase`, {
    hint: 'give `--passphrase-file FILE`, or set SIE_MIRROR_PASSPHRASE',
  });
}

export function wrongPassphrase(name: string, cause: unknown): MirrorError {
  return new MirrorError('E_USAGE', `\`${name}\` cannot be opened with this passphrase`, {
    hint: 'check it: of `--passphrase-file` the first line counts, of SIE_MIRROR_PASSPHRASE and COSIGN_PASSWORD every character',
    cause,
  });
}

/** @throws E_USAGE when it is not one public P-256 key */
export function readPublicKey(pem: string, name: string): KeyObject {
  if (pem.includes('PRIVATE KEY'))
    throw new MirrorError('E_USAGE', `\`${name}\` is a private key, the public one was wanted`, {
      hint: 'give the other file of the pair, and keep this one to yourself',
    });
  const kinds = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/g)].map(([, kind]) => kind);
  if (kinds.includes('CERTIFICATE'))
    throw new MirrorError('E_USAGE', `\`${name}\` holds a certificate, a public key was wanted`, {
      hint: `nothing here looks at who issued it, or until when it is valid; take the key out of it: \`openssl x509 -in ${name} -noout -pubkey\``,
    });
  // Only the first would be read, and the others believed to count.
  if (kinds.length > 1)
    throw new MirrorError('E_USAGE', `\`${name}\` holds ${kinds.length} keys, one was wanted`, {
      hint: 'put each into a file of its own, and give each of them',
    });
  return checkKey(
    readKey(() => createPublicKey(pem), name, 'public'),
    name,
  );
}

function readKey(read: () => KeyObject, name: string, kind: string): KeyObject {
  try {
    return read();
  } catch (error) {
    const inward = kind === 'public' ? ' -pubin' : '';
    throw new MirrorError('E_USAGE', `\`${name}\` is not a ${kind} key in PEM form`, {
      hint: `give the file that \`sie-mirror keygen\` or openssl made; one in DER form becomes PEM with \`openssl pkey${inward} -inform DER -in ${name}\``,
      cause: error,
    });
  }
}

/** @throws E_USAGE for a key that is not on P-256 */
export function checkKey(key: KeyObject, name: string): KeyObject {
  const kind = [key.asymmetricKeyType, key.asymmetricKeyDetails?.namedCurve].filter(Boolean).join(' ');
  if (kind === 'ec prime256v1') return key;
  throw new MirrorError('E_USAGE', `\`${name}\` is a key of the kind \`${kind}\`, an ECDSA P-256 key was wanted`, {
    hint: 'bundles are signed by no other kind; `sie-mirror keygen` makes a pair, for who seals or approves them',
  });
}

/**
 * `sha256:<hex>` over the public key in DER form: what two people compare over the telephone. One key has one
 * fingerprint, however its file writes the curve and the point: who gave it in two forms would pass for two people.
 */
export function fingerprint(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const plain = createPublicKey({ key: publicKey.export({ format: 'jwk' }), format: 'jwk' });
  return `sha256:${createHash('sha256')
    .update(plain.export({ type: 'spki', format: 'der' }))
    .digest('hex')}`;
}

/** By which a sigstore bundle names a key. */
function hintOf(key: KeyObject): string {
  return Buffer.from(fingerprint(key).slice('sha256:'.length), 'hex').toString('base64');
}

export interface Signatures {
  /** Base64 of the DER signature: `openssl dgst -verify`, `cosign verify-blob --signature`. */
  plain: string;
  /** https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto , v0.3 */
  sigstore: string;
}

/** Signs the bytes of SHA256SUMS. */
export function signSums(sums: Uint8Array, key: KeyObject): Signatures {
  return formatSignatures(sums, sign('sha256', sums, key), key);
}

/**
 * A signature in the two forms that verifiers read.
 * @param der ASN.1 DER, as openssl and hardware make it
 * @param key either half of the pair that made it
 */
export function formatSignatures(sums: Uint8Array, der: Uint8Array, key: KeyObject): Signatures {
  const signature = Buffer.from(der).toString('base64');
  const hint = hintOf(key);
  const digest = createHash('sha256').update(sums).digest('base64');
  const sigstore = {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
    messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest }, signature },
  };
  return { plain: `${signature}\n`, sigstore: `${JSON.stringify(sigstore)}\n` };
}

/** Strict, as sigstore's own reader is: nothing of it may say something else than the signature proves. */
const sigstoreSchema = z.strictObject({
  mediaType: z.literal('application/vnd.dev.sigstore.bundle.v0.3+json'),
  verificationMaterial: z.strictObject({
    publicKey: z.strictObject({ hint: z.string() }),
    tlogEntries: z.array(z.never()),
  }),
  messageSignature: z.strictObject({
    messageDigest: z.strictObject({ algorithm: z.literal('SHA2_256'), digest: z.string() }),
    signature: z.string(),
  }),
});

/** The bytes of a signature file: standard base64 in one line, and one line feed at most; empty for anything else. */
export function readSignature(file: Uint8Array): Buffer {
  const text = Buffer.from(file).toString('latin1').replace(/\n$/, '');
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : Buffer.alloc(0);
}

/** What is signed, and the files that its two signatures stand in. */
export interface SignedNames {
  sums: string;
  signature: string;
  sigstore: string;
}

/** Signatures stand beside what they sign. */
export function signatureNames(file: string): SignedNames {
  return { sums: file, signature: `${file}.sig`, sigstore: `${file}.sigstore.json` };
}

/**
 * Both signatures have to be there and right: a verifier with other tools may look at either.
 * @param keys those that the verifier trusts, at least one
 * @param names for messages
 * @returns the one that made the signatures
 * @throws E_SIGNATURE
 */
export function verifySums(
  sums: Uint8Array,
  signatures: { plain: Uint8Array | undefined; sigstore: Uint8Array | undefined },
  keys: readonly KeyObject[],
  names: SignedNames = signatureNames(bundleFiles.sums),
): KeyObject {
  const prints = keys.map(fingerprint).join(', ');
  const wrong = (file: string, text: string): MirrorError =>
    new MirrorError('E_SIGNATURE', `\`${file}\` ${text}`, {
      hint: `check that the key is the maker's (fingerprint here: ${prints}); if it is, do not use what it signs`,
      at: { item: file },
    });
  const whose = keys.length === 1 ? 'by this key' : `by any of these ${keys.length} keys`;
  if (!signatures.plain) throw wrong(names.signature, 'is missing: it is not signed, and a key wants it to be');
  const signature = readSignature(signatures.plain);
  const key = keys.find((each) => verify('sha256', sums, each, signature));
  if (!key) throw wrong(names.signature, `is not a signature of \`${names.sums}\` ${whose}`);
  if (!signatures.sigstore) throw wrong(names.sigstore, 'is missing');
  let sigstore: z.infer<typeof sigstoreSchema>;
  try {
    sigstore = validate(sigstoreSchema, parseJson(signatures.sigstore, names.sigstore), names.sigstore);
  } catch (error) {
    throw new MirrorError('E_SIGNATURE', `\`${names.sigstore}\` is not a sigstore bundle`, {
      cause: error,
      at: { item: names.sigstore },
    });
  }
  const { messageDigest, signature: second } = sigstore.messageSignature;
  const digest = createHash('sha256').update(sums).digest('base64');
  // A field that stands there twice says one thing to us, and maybe another to the next reader.
  const isPlain =
    JSON.stringify(sigstore).length === Buffer.from(signatures.sigstore).toString('utf8').replace(/\s/g, '').length;
  const whole =
    isPlain &&
    messageDigest.digest === digest &&
    sigstore.verificationMaterial.publicKey.hint === hintOf(key) &&
    verify('sha256', sums, key, readSignature(Buffer.from(second)));
  if (!whole) throw wrong(names.sigstore, `is not a signature of \`${names.sums}\` ${whose}`);
  return key;
}
