import { readFile, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseReceipt } from '../bundle/receipt.ts';
import { fingerprint, signatureNames, verifySums } from '../bundle/seal.ts';
import { sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { plural } from '../core/text.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import type { Context } from './context.ts';
import { readTrust, type TrustOptions } from './sealed.ts';
import type { SigningKey } from './signing.ts';

/** A signed text: what goes to which file, beside `name`; without a key the text alone. */
export type SignedFiles = ReadonlyMap<string, string>;

/** @returns the files in the order in which they are to be written: the signatures of another text must not stay */
export async function signText(name: string, text: string, key: SigningKey | undefined): Promise<SignedFiles> {
  const files = new Map([[name, text]]);
  if (!key) return files;
  const { signature, sigstore } = signatureNames(name);
  const signed = await key.sign(Buffer.from(text));
  return files.set(signature, signed.plain).set(sigstore, signed.sigstore);
}

/** Writes the receipt to a file, and its signatures beside it; those of an earlier one go. */
export async function writeReceiptFile(path: string, text: string, key: SigningKey | undefined): Promise<void> {
  const { signature, sigstore } = signatureNames(path);
  await rm(signature, { force: true });
  await rm(sigstore, { force: true });
  for (const [file, content] of await signText(path, text, key)) await writeFileAtomic(file, content);
}

/**
 * Holds a receipt to the signatures beside it, when there are keys to do so.
 * @returns the fingerprint of the key that signed it
 * @throws E_SIGNATURE, E_USAGE
 */
export async function checkReceipt(
  path: string,
  bytes: Uint8Array,
  options: TrustOptions,
  context: Context,
): Promise<string | undefined> {
  const { keys, required } = await readTrust(options, context);
  if (keys.length === 0) return undefined;
  if (required > 1)
    throw new MirrorError('E_USAGE', `\`--require ${required}\`: a receipt has one signature`, {
      hint: 'leave `--require` out',
    });
  const names = signatureNames(context.path(path));
  const read = async (file: string): Promise<Buffer | undefined> => readFile(file).catch(() => undefined);
  const signatures = { plain: await read(names.signature), sigstore: await read(names.sigstore) };
  return fingerprint(verifySums(bytes, signatures, keys, signatureNames(basename(path))));
}

/** The verdict on a receipt: who signed it, and that it can be read. @throws E_SIGNATURE, E_CORRUPT, E_USAGE */
export async function verifyReceipt(path: string, options: TrustOptions, context: Context): Promise<Report> {
  const bytes = await readFile(context.path(path));
  const signer = await checkReceipt(path, bytes, options, context);
  const receipt = parseReceipt(bytes, path);
  const digest = sha256(bytes);
  const word = signer === undefined ? 'READABLE, SIGNATURE NOT CHECKED' : 'GOOD';
  const signature = signer === undefined ? 'NOT CHECKED (no --key)' : `good, by the key ${signer}`;
  const held = `${plural(receipt.models.length, 'model')}, ${plural(receipt.images.length, 'image')}`;
  const end = `${word}: the receipt of \`${receipt.bundle.name}\`, ${held}${receipt.complete ? '' : ', NOT COMPLETE'}`;
  const report = makeReport(
    'verify',
    [{ kind: 'receipt', name: receipt.bundle.name, state: 'done', digest, detail: { complete: receipt.complete } }],
    { findings: 0, bytes: bytes.length },
    [`signature  ${signature}`, end],
  );
  const facts = { verdict: end, bundle: receipt.bundle.name, 'made by': receipt.tool, signature, digest };
  return { ...report, verdict: word, facts };
}
