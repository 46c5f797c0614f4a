import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { fingerprint, makeKeyPair, readPublicKey } from '../bundle/proof/seal.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import type { Context } from './context.ts';
import { newPassphrase } from './records/signing.ts';

export interface KeygenOptions {
  out: string;
  /** The private key is encrypted with the first line of this file; else with what the environment has, if it has one. */
  passphraseFile?: string | undefined;
}

const keyFiles = { private: 'sie-mirror.key.pem', public: 'sie-mirror.pub.pem' } as const;

/**
 * An ECDSA P-256 pair; the private file is readable by its owner only, and nothing is ever overwritten.
 * @throws E_USAGE for an empty passphrase, E_REFUSED where a key is already, and what writing there throws
 */
export async function keygen(options: KeygenOptions, context: Context): Promise<Report> {
  const passphrase = await newPassphrase(options.passphraseFile, context);
  const directory = context.path(options.out);
  await ensureWritable(directory);
  const privatePath = join(directory, keyFiles.private);
  const publicPath = join(directory, keyFiles.public);
  for (const path of [privatePath, publicPath])
    if (await lstat(path).catch(() => undefined))
      throw new MirrorError('E_REFUSED', `\`${path}\` exists, and a key is never overwritten`, {
        hint: 'choose another directory with `--out`',
      });
  const { privatePem, publicPem } = makeKeyPair(passphrase);
  await writeFileAtomic(privatePath, privatePem, 0o600);
  await writeFileAtomic(publicPath, publicPem);
  const print = fingerprint(readPublicKey(publicPem, keyFiles.public));
  return makeReport(
    'keygen',
    [{ kind: 'key', name: publicPath, state: 'done', digest: print, detail: { privateKey: privatePath } }],
    {},
    [
      `private key  ${privatePath}  (${passphrase === undefined ? 'NOT ENCRYPTED, ' : 'encrypted, '}keep it to yourself)`,
      `public key   ${publicPath}  (carry it to the zone on another way than the bundle)`,
      `fingerprint  ${print}`,
    ],
  );
}
