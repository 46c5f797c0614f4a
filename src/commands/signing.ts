import { spawn } from 'node:child_process';
import { type KeyObject, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isCosignKey, readCosignKey } from '../bundle/cosign-key.ts';
import {
  checkKey,
  fingerprint,
  formatSignatures,
  noPassphrase,
  readPrivateKey,
  readPublicKey,
  type Signatures,
  signSums,
} from '../bundle/seal.ts';
import { readAll } from '../core/stream.ts';
import { MirrorError } from '../core/errors.ts';
import type { Context } from './context.ts';

/** How a bundle is signed: with a key in a file, or by a command that has the key. */
export interface SigningOptions {
  /** Path of a private key: PKCS#8 PEM, encrypted or not, or cosign's own form. */
  sign?: string | undefined;
  /** Reads SHA256SUMS from standard input and writes the signature to standard output. */
  signCommand?: string | undefined;
  /** Path of the public key that belongs to `signCommand`. */
  signPublic?: string | undefined;
  passphraseFile?: string | undefined;
}

/** What signs: its fingerprint is known before anything is made. */
export interface SigningKey {
  fingerprint: string;
  sign(sums: Uint8Array): Promise<Signatures>;
}

/** @throws E_USAGE, E_NOT_FOUND */
export async function openSigning(options: SigningOptions, context: Context): Promise<SigningKey | undefined> {
  if (options.sign !== undefined && options.signCommand !== undefined)
    throw new MirrorError('E_USAGE', '`--sign` and `--sign-cmd` cannot be given together');
  if (options.sign !== undefined) {
    const key = await readSigningKey(options.sign, options.passphraseFile, context);
    return { fingerprint: fingerprint(key), sign: async (sums) => signSums(sums, key) };
  }
  return options.signCommand === undefined ? undefined : byCommand(options.signCommand, options.signPublic, context);
}

/**
 * A private key from a file; the passphrase of an encrypted one comes from a file or the environment, never from the
 * command line, which other users of the machine can read.
 * @throws E_USAGE
 */
export async function readSigningKey(
  path: string,
  passphraseFile: string | undefined,
  context: Context,
): Promise<KeyObject> {
  const pem = await readFile(context.path(path), 'utf8');
  const passphrase = await readPassphrase(passphraseFile, context);
  if (!isCosignKey(pem)) return readPrivateKey(pem, path, passphrase);
  if (passphrase === undefined) throw noPassphrase(path);
  return checkKey(await readCosignKey(pem, path, passphrase), path);
}

export async function readPassphrase(file: string | undefined, context: Context): Promise<string | undefined> {
  if (file !== undefined) return (await readFile(context.path(file), 'utf8')).replace(/\r?\n$/, '');
  return context.env['SIE_MIRROR_PASSPHRASE'] ?? context.env['COSIGN_PASSWORD'];
}

async function byCommand(command: string, publicKey: string | undefined, context: Context): Promise<SigningKey> {
  if (publicKey === undefined)
    throw new MirrorError('E_USAGE', '`--sign-cmd` needs the public key that its signatures are checked with', {
      hint: 'add `--sign-pub FILE`',
    });
  const key = readPublicKey(await readFile(context.path(publicKey), 'utf8'), publicKey);
  const sign = async (sums: Uint8Array): Promise<Signatures> => {
    const answer = await run(command, sums, context.signal);
    const der = [answer, Buffer.from(answer.toString('latin1').trim(), 'base64')].find((signature) =>
      verify('sha256', sums, key, signature),
    );
    if (!der)
      throw new MirrorError('E_SIGNATURE', `what \`--sign-cmd\` wrote is no signature by the key in \`${publicKey}\``, {
        hint: 'it has to write an ECDSA signature over SHA-256 of its input, in DER or base64 of it',
      });
    return formatSignatures(sums, der, key);
  };
  return { fingerprint: fingerprint(key), sign };
}

/** @throws E_SIGNATURE when the command fails, E_SIZE_MISMATCH when it writes without end, E_ABORTED */
async function run(command: string, input: Uint8Array, signal: AbortSignal): Promise<Buffer> {
  const child = spawn(command, { shell: true, signal, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
  // A command that does not read its input has its own way to the file.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  try {
    const [output, code] = await Promise.all([readAll(child.stdout, 64 * 1024, 'the signature'), ended]);
    if (code === 0) return output;
    throw new MirrorError('E_SIGNATURE', `\`--sign-cmd\` ended with exit code ${code}`, {
      hint: 'what it printed stands above; nothing was sealed',
    });
  } finally {
    child.kill();
  }
}
