import { createPrivateKey, randomBytes, scryptSync } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';

/** A private key as `cosign generate-key-pair` writes it, but for the cost of opening it. */
export function sealCosignKey(privatePem: string, passphrase: string): string {
  const params = { N: 1024, r: 8, p: 1 };
  const [salt, nonce] = [randomBytes(32), randomBytes(24)];
  const der = createPrivateKey(privatePem).export({ type: 'pkcs8', format: 'der' });
  const ciphertext = xsalsa20poly1305(scryptSync(passphrase, salt, 32, params), nonce).encrypt(der);
  const document = {
    kdf: { name: 'scrypt', params, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(ciphertext).toString('base64'),
  };
  const body = Buffer.from(JSON.stringify(document)).toString('base64');
  return `-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n${body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n`;
}
