import { createPrivateKey, type KeyObject, scryptSync } from 'node:crypto';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { wrongPassphrase } from './seal.ts';

const pemPattern = /-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END /;

const keySchema = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    params: z.object({
      N: z
        .number()
        .int()
        .max(2 ** 18),
      r: z.literal(8),
      p: z.literal(1),
    }),
    salt: z.base64(),
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: z.base64() }),
  ciphertext: z.base64(),
});

/** Whether a file is a private key as `cosign generate-key-pair` writes it. */
export function isCosignKey(pem: string): boolean {
  return pemPattern.test(pem);
}

/**
 * Opens cosign's own form of a private key: PKCS#8 in a secretbox whose key scrypt makes of the passphrase.
 * https://github.com/sigstore/cosign/blob/main/pkg/cosign/keys.go
 * @throws E_USAGE for a wrong passphrase or a damaged file
 */
export async function readCosignKey(pem: string, name: string, passphrase: string): Promise<KeyObject> {
  const body = Buffer.from(pemPattern.exec(pem)?.[1] ?? '', 'base64');
  const { kdf, cipher, ciphertext } = validate(keySchema, parseJson(body, name, 'E_USAGE'), name, 'E_USAGE');
  const { N, r, p } = kdf.params;
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
  const secret = scryptSync(passphrase, bytes(kdf.salt), 32, { N, r, p, maxmem: 512 * 1024 * 1024 });
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  try {
    const der = xsalsa20poly1305(secret, bytes(cipher.nonce)).decrypt(bytes(ciphertext));
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw wrongPassphrase(name, error);
  }
}
