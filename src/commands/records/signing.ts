import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { type KeyObject, randomBytes, verify } from 'node:crypto';
import { type FileHandle, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { isCosignKey, readCosignKey } from '../../bundle/proof/cosign-key.ts';
import { isOpenPgp, signaturesIn } from '../../bundle/proof/ecdsa-answer.ts';
import {
  checkKey,
  fingerprint,
  formatSignatures,
  noPassphrase,
  readPrivateKey,
  readPublicKey,
  type Signatures,
  signSums,
} from '../../bundle/proof/seal.ts';
import { readAll } from '../../core/stream.ts';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { Context } from '../context.ts';
import { readSmallFile } from './small-file.ts';

/** How something is signed: with a key in a file, or by a command that has the key. */
export interface SigningOptions {
  /** Path of a private key: PKCS#8 PEM, encrypted or not, or cosign's own form. */
  sign?: string | undefined;
  /** Reads what is to be signed from standard input and writes the signature to standard output. */
  signCommand?: string | undefined;
  /** Path of the public key that belongs to `signCommand`. */
  signPublic?: string | undefined;
  passphraseFile?: string | undefined;
}

/** What signs: its fingerprint is known before anything is made. */
export interface SigningKey {
  fingerprint: string;
  sign(bytes: Uint8Array): Promise<Signatures>;
}

/**
 * @param keyFlag what the key in a file is given with
 * @throws E_USAGE, E_NOT_FOUND
 */
export async function openSigning(
  options: SigningOptions,
  context: Context,
  keyFlag = '--sign',
): Promise<SigningKey | undefined> {
  if (options.sign !== undefined && options.signCommand !== undefined)
    throw new MirrorError('E_USAGE', `\`${keyFlag}\` and \`--sign-cmd\` cannot be given together`);
  // Whoever gives one of these wants a signature, and would get none.
  const lost = options.signPublic !== undefined ? '--sign-pub' : options.passphraseFile && '--passphrase-file';
  if (lost !== undefined && options.sign === undefined && options.signCommand === undefined)
    throw new MirrorError('E_USAGE', `\`${lost}\` says with what to sign, and nothing is to be signed`, {
      hint: `add \`${keyFlag} KEY\` or \`--sign-cmd COMMAND\``,
    });
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
  const pem = await readSmallFile(path, context);
  const passphrases = await readPassphrases(passphraseFile, context);
  for (const [index, passphrase] of passphrases.entries())
    try {
      return await openKey(pem, path, passphrase);
    } catch (error) {
      if (index === passphrases.length - 1) throw error;
    }
  return openKey(pem, path, undefined);
}

async function openKey(pem: string, path: string, passphrase: string | undefined): Promise<KeyObject> {
  if (!isCosignKey(pem)) return readPrivateKey(pem, path, passphrase);
  if (passphrase === undefined) throw noPassphrase(path);
  return checkKey(await readCosignKey(pem, path, passphrase), path);
}

/**
 * What a new key is to be encrypted with: the first line of a file, as openssl reads it, or what the environment has.
 * @throws E_USAGE for an empty one, which protects nothing
 */
export async function newPassphrase(file: string | undefined, context: Context): Promise<string | undefined> {
  const [passphrase] = await readPassphrases(file, context);
  if (passphrase !== '') return passphrase;
  const place = file === undefined ? 'in the environment' : `in the first line of \`${file}\``;
  throw new MirrorError('E_USAGE', `the passphrase ${place} is empty: it would protect nothing`, {
    hint: 'give one that is not, or none at all for a key that is not encrypted',
  });
}

/** In the order in which they are tried: cosign takes the line feed of a passphrase that was piped into it for a part of it. */
async function readPassphrases(file: string | undefined, context: Context): Promise<string[]> {
  if (file !== undefined) {
    const text = await readSmallFile(file, context);
    return [...new Set([...text.split(/\r?\n/, 1), text.replace(/\r?\n$/, ''), text])];
  }
  const { env } = context;
  const given = env['SIE_MIRROR_PASSPHRASE'] ?? env['COSIGN_PASSWORD'];
  return given === undefined ? [] : [given];
}

async function byCommand(command: string, publicKey: string | undefined, context: Context): Promise<SigningKey> {
  if (publicKey === undefined)
    throw new MirrorError('E_USAGE', '`--sign-cmd` needs the public key that its signatures are checked with', {
      hint: 'add `--sign-pub FILE`',
    });
  const key = readPublicKey(await readSmallFile(publicKey, context), publicKey);
  const sign = async (sums: Uint8Array): Promise<Signatures> => {
    // It may ask for a PIN, or for a touch.
    context.report({ type: 'stage', text: 'waiting for the signature of `--sign-cmd`' });
    const answer = await run(command, sums, context.signal);
    const der = signaturesIn(answer).find((signature) => verify('sha256', sums, key, signature));
    if (!der) throw noSignature(answer, publicKey);
    return formatSignatures(sums, der, key);
  };
  return { fingerprint: fingerprint(key), sign };
}

function noSignature(answer: Buffer, publicKey: string): MirrorError {
  const said = printable(answer.toString('latin1', 0, 200).trim());
  const wanted = isOpenPgp(answer)
    ? 'openssl and cosign read no OpenPGP signature: let the agent of GnuPG sign, as `docs/bundle.md` has it'
    : 'it has to write an ECDSA signature over SHA-256 of its input: DER, r and s of 32 bytes each, or base64 of either';
  return new MirrorError(
    'E_SIGNATURE',
    `\`--sign-cmd\` wrote ${said === '' ? 'nothing' : `\`${said}\``}, which is no signature by the key in \`${publicKey}\``,
    { hint: `${wanted}; then run the same command again, what is written stays` },
  );
}

/** @throws E_SIGNATURE when the command fails, E_SIZE_MISMATCH when it writes without end, E_ABORTED */
async function run(command: string, input: Uint8Array, signal: AbortSignal): Promise<Buffer> {
  const file = await asFile(input);
  const stdio = [file?.fd ?? 'pipe', 'pipe', 'inherit'] as const;
  const child = spawn(command, { shell: true, signal, stdio: [...stdio] }) as ChildProcessByStdio<
    Writable | null,
    Readable,
    null
  >;
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
  // A command that does not read its input has its own way to the file.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  try {
    const [output, code] = await Promise.all([readAll(child.stdout, 64 * 1024, 'the signature'), ended]);
    if (code === 0) return output;
    throw new MirrorError('E_SIGNATURE', `\`--sign-cmd\` ended with exit code ${code}`, {
      hint: 'what it printed stands above; nothing was signed. Run the same command again when it works: what is written stays',
    });
  } finally {
    child.kill();
    await file?.close();
  }
}

/**
 * What a command can open as `/dev/stdin`, as pkcs11-tool does: a pipe of ours is a socket, which nobody can open by a name.
 * @returns undefined where no file can be made
 */
async function asFile(input: Uint8Array): Promise<FileHandle | undefined> {
  const path = join(tmpdir(), `sie-mirror-${randomBytes(8).toString('hex')}`);
  try {
    await writeFile(path, input, { flag: 'wx', mode: 0o600 });
    return await open(path, 'r');
  } catch {
    return undefined;
  } finally {
    await rm(path, { force: true });
  }
}
