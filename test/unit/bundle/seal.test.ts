import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fingerprint,
  formatSums,
  makeKeyPair,
  parseSums,
  readPrivateKey,
  readPublicKey,
  signSums,
  verifySums,
} from '../../../src/bundle/proof/seal.ts';
import { codeOfCall, failureOfCall } from '../../support/failures.ts';

const hex = 'a'.repeat(64);

describe('sums', () => {
  it('reads what it wrote', () => {
    const sums = fc.dictionary(
      fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
      fc.stringMatching(/^[0-9a-f]{64}$/),
      {
        minKeys: 1,
      },
    );
    fc.assert(
      fc.property(sums, (given) => {
        const map = new Map(Object.entries(given));
        expect(parseSums(formatSums(map))).toEqual(map);
      }),
      { seed: 5, numRuns: 100 },
    );
  });

  it('writes lines as sha256sum does, sorted', () => {
    const text = formatSums(
      new Map([
        ['b', 'b'.repeat(64)],
        ['a', hex],
      ]),
    );

    expect(text).toBe(`${hex}  a\n${'b'.repeat(64)}  b\n`);
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['a blank line', '\n'],
    ['a line that is cut off', `${hex}  a`],
    ['a second line that is cut off', `${hex}  a\n${hex}  b`],
    ['a path', `${hex}  a/b\n`],
    ['a path that climbs', `${hex}  ../a\n`],
    ['a hidden file', `${hex}  .a\n`],
    ['a name with a blank', `${hex}  a b\n`],
    ['a name with an escape', `${hex}  a\u001b[31m\n`],
    ['binary mode', `${hex} *a\n`],
    ['an escaped line', `\\${hex}  a\n`],
    ['a short sum', `${hex.slice(1)}  a\n`],
    ['an upper-case sum', `${hex.toUpperCase()}  a\n`],
    ['one blank', `${hex} a\n`],
    ['three blanks', `${hex}   a\n`],
    ['carriage returns', `${hex}  a\r\n`],
    ['a byte order mark', `\ufeff${hex}  a\n`],
    ['a blank line between', `${hex}  a\n\n${hex}  b\n`],
    ['one name twice', `${hex}  a\n${'b'.repeat(64)}  a\n`],
    ['another tool', `SHA256 (a) = ${hex}\n`],
  ])('refuses %s', (_, text) => {
    expect(codeOfCall(() => parseSums(text))).toBe('E_CORRUPT');
  });

  it('takes a name that objects have', () => {
    expect([...parseSums(`${hex}  constructor\n`)]).toEqual([['constructor', hex]]);
  });
});

interface Signed {
  sums: Buffer;
  plain: Buffer;
  sigstore: Buffer;
  key: KeyObject;
}

const pair = makeKeyPair();
const other = makeKeyPair();
const publicKey = readPublicKey(pair.publicPem, 'pub');

function signed(privatePem = pair.privatePem): Signed {
  const sums = Buffer.from(`${hex}  a\n`);
  const { plain, sigstore } = signSums(sums, readPrivateKey(privatePem, 'key'));
  return { sums, plain: Buffer.from(plain), sigstore: Buffer.from(sigstore), key: publicKey };
}

const verdictOf = ({
  sums,
  key,
  ...signatures
}: Omit<Signed, 'plain' | 'sigstore'> & { plain: Buffer | undefined; sigstore: Buffer | undefined }): KeyObject =>
  verifySums(sums, signatures, [key]);

describe('signatures', () => {
  it('verifies what it signed', () => {
    expect(() => verdictOf(signed())).not.toThrow();
  });

  it('carries the same signature in both forms', () => {
    const { plain, sigstore } = signed();
    const document = JSON.parse(sigstore.toString()) as { mediaType: string; messageSignature: { signature: string } };

    expect(document.mediaType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
    expect(document.messageSignature.signature).toBe(plain.toString().trim());
  });

  const sigstoreOf = (
    change: (message: { messageDigest: { algorithm: string; digest: string }; signature: string }) => void,
  ): Buffer => {
    const document = JSON.parse(signed().sigstore.toString()) as {
      messageSignature: { messageDigest: { algorithm: string; digest: string }; signature: string };
    };
    change(document.messageSignature);
    return Buffer.from(JSON.stringify(document));
  };

  it.each<[string, () => Partial<Record<keyof Signed, unknown>>]>([
    ['another key', () => ({ key: readPublicKey(other.publicPem, 'pub') })],
    ['a signature by another key', () => signedBy(other.privatePem)],
    ['sums that were changed', () => ({ sums: Buffer.from(`${'b'.repeat(64)}  a\n`) })],
    ['sums with one byte more', () => ({ sums: Buffer.from(`${hex}  a\n\n`) })],
    ['no sums', () => ({ sums: Buffer.alloc(0) })],
    ['no signature', () => ({ plain: undefined })],
    ['an empty signature', () => ({ plain: Buffer.alloc(0) })],
    ['a signature that is no base64', () => ({ plain: Buffer.from('???') })],
    ['a signature that was changed', () => ({ plain: flipped(signed().plain) })],
    ['no sigstore bundle', () => ({ sigstore: undefined })],
    ['an empty sigstore bundle', () => ({ sigstore: Buffer.alloc(0) })],
    ['a sigstore bundle that is something else', () => ({ sigstore: Buffer.from('{"a":1}') })],
    ['a sigstore bundle of another key', () => ({ sigstore: signed(other.privatePem).sigstore })],
    [
      'a sigstore bundle in which a field stands twice, as of which readers see one or the other',
      () => ({
        sigstore: Buffer.from(signed().sigstore.toString().replace('"mediaType"', '"mediaType":"x","mediaType"')),
      }),
    ],
    [
      'a sigstore bundle of another digest',
      () => ({ sigstore: sigstoreOf((message) => (message.messageDigest.digest = 'AAAA')) }),
    ],
    [
      'a sigstore bundle with another signature',
      () => ({ sigstore: sigstoreOf((message) => (message.signature = 'AAAA')) }),
    ],
    [
      'a sigstore bundle by another algorithm',
      () => ({ sigstore: sigstoreOf((message) => (message.messageDigest.algorithm = 'SHA1')) }),
    ],
  ])('refuses %s', (_, change) => {
    expect(codeOfCall(() => verdictOf({ ...signed(), ...change() } as Signed))).toBe('E_SIGNATURE');
  });
});

/** `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=maker -days 36500` */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUbIx8G/h38CT0naht0hN3+O5tMiQwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFbWFrZXIwIBcNMjYxMTIyMDcxNzQ1WhgPMjEyNjEwMjkwNzE3
NDVaMBAxDjAMBgNVBAMMBW1ha2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
3RJTkBZmF7k5AppC5OlvloKd1QTiPe+GoLEQu0et7Kk3AZb9PZTigpLj8NbPrH3y
uNloi+qFpxrfaTy9+WEAjqNTMFEwHQYDVR0OBBYEFPaEgvIbiweJOmrGKdLPMk+d
HnXmMB8GA1UdIwQYMBaAFPaEgvIbiweJOmrGKdLPMk+dHnXmMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhALYr2TGureTJNZzQXxXE6s6/R1SzTvRk
P4clT8s7xfrtAiEA798q68z2N++JJLnJ7UC8slkRXhtDQzoX1pw9aVqq2Vw=
-----END CERTIFICATE-----
`;

function signedBy(privatePem: string): Partial<Signed> {
  const { plain, sigstore } = signed(privatePem);
  return { plain, sigstore };
}

function flipped(base64: Buffer): Buffer {
  const bytes = Buffer.from(base64.toString(), 'base64');
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return Buffer.from(bytes.toString('base64'));
}

describe('keys', () => {
  const pem = (keys: { privateKey: KeyObject; publicKey: KeyObject }): { privatePem: string; publicPem: string } => ({
    privatePem: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  });

  it.each<[string, () => { privatePem: string; publicPem: string }]>([
    ['RSA', () => pem(generateKeyPairSync('rsa', { modulusLength: 2048 }))],
    ['P-384', () => pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }))],
    ['secp256k1', () => pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }))],
    ['Ed25519', () => pem(generateKeyPairSync('ed25519'))],
  ])('refuses %s', (_, make) => {
    const keys = make();

    expect(codeOfCall(() => readPrivateKey(keys.privatePem, 'key'))).toBe('E_USAGE');
    expect(codeOfCall(() => readPublicKey(keys.publicPem, 'pub'))).toBe('E_USAGE');
  });

  it('says which kind it found, and of each file what to give instead', () => {
    const p384 = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }));
    expect(failureOfCall(() => readPublicKey(p384.publicPem, 'pub')).message).toContain('secp384r1');
    expect(failureOfCall(() => readPrivateKey(pair.publicPem, 'key')).hint).toContain('other file of the pair');
    expect(failureOfCall(() => readPublicKey('x', 'pub')).hint).toContain('-pubin -inform DER');
    expect(failureOfCall(() => readPrivateKey('x', 'key')).hint).toContain('pkey -inform DER');
  });

  it.each(['', 'x', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'])(
    'refuses what is no key: %j',
    (text) => {
      expect(codeOfCall(() => readPrivateKey(text, 'key'))).toBe('E_USAGE');
      expect(codeOfCall(() => readPublicKey(text, 'pub'))).toBe('E_USAGE');
    },
  );

  it('refuses one file of the pair for the other', () => {
    expect(codeOfCall(() => readPublicKey(pair.privatePem, 'pub'))).toBe('E_USAGE');
    expect(codeOfCall(() => readPrivateKey(pair.publicPem, 'key'))).toBe('E_USAGE');
  });

  it('refuses a file of two keys, of which only one would count, in whichever order they stand', () => {
    const text = [pair.publicPem, other.publicPem];
    for (const two of [text, text.toReversed()])
      expect(codeOfCall(() => readPublicKey(two.join(''), 'pub'))).toBe('E_USAGE');
  });

  it('refuses a certificate, of which nobody looks at the issuer or the dates', () => {
    expect(codeOfCall(() => readPublicKey(certificate, 'pub'))).toBe('E_USAGE');
  });

  it('has one fingerprint for both files of a pair, and another for another pair', () => {
    expect(fingerprint(readPrivateKey(pair.privatePem, 'key'))).toBe(fingerprint(publicKey));
    expect(fingerprint(readPublicKey(other.publicPem, 'pub'))).not.toBe(fingerprint(publicKey));
  });
});

describe('a key', () => {
  const { publicPem } = makeKeyPair();
  const key = readPublicKey(publicPem, 'pub');
  const [whole, x, y] = [key.export({ type: 'spki', format: 'der' }), ...pointOf(key)];
  const pem = (der: Buffer, width = 64): string =>
    `-----BEGIN PUBLIC KEY-----\n${der.toString('base64').replaceAll(new RegExp(`.{${width}}`, 'g'), '$&\n')}\n-----END PUBLIC KEY-----\n`;
  const odd = (y.at(-1) ?? 0) & 1;
  /** https://www.rfc-editor.org/rfc/rfc5480#section-2.2 : the point in another form, in the same envelope. */
  const compressed = Buffer.concat([
    Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
    Buffer.of(2 + odd),
    x,
  ]);
  const hybrid = Buffer.concat([whole.subarray(0, 26), Buffer.of(6 + odd), x, y]);

  it.each<[string, string]>([
    ['in lines of another length', pem(whole, 76)],
    ['with line breaks of Windows and text around it', `maker\r\n${publicPem.replaceAll('\n', '\r\n')}\r\n`],
    ['with its point compressed', pem(compressed)],
    ['with its point in the hybrid form', pem(hybrid)],
  ])('written %s has the same fingerprint: it is no second key', (_, text) => {
    expect(text).not.toBe(publicPem);
    expect(fingerprint(readPublicKey(text, 'pub'))).toBe(fingerprint(key));
  });
});

function pointOf(key: KeyObject): [Buffer, Buffer] {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  return [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')];
}
