import { readFile, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseReceipt, type WrittenReceipt } from '../../bundle/records/receipt.ts';
import { fingerprint, signatureNames, verifySums } from '../../bundle/proof/seal.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { makeReport, type Report } from '../../core/report.ts';
import { plural } from '../../core/text.ts';
import { writeFileAtomic } from '../../fs/atomic.ts';
import type { Context } from '../context.ts';
import { readTrust, type TrustOptions } from './sealed.ts';
import type { SigningKey } from './signing.ts';

/** The signatures of a receipt by the files that they go to, beside `name`; none without a key. */
export async function signaturesOf(
  name: string,
  receipt: WrittenReceipt,
  key: SigningKey | undefined,
): Promise<ReadonlyMap<string, string>> {
  if (!key) return new Map();
  const { signature, sigstore } = signatureNames(name);
  const signed = await key.sign(Buffer.concat([...receipt.chunks()]));
  return new Map([
    [signature, signed.plain],
    [sigstore, signed.sigstore],
  ]);
}

/** Writes the receipt to a file, and its signatures beside it; those of an earlier one go. */
export async function writeReceiptFile(
  path: string,
  receipt: WrittenReceipt,
  key: SigningKey | undefined,
): Promise<void> {
  const signatures = await signaturesOf(path, receipt, key);
  for (const file of Object.values(signatureNames(path)).slice(1)) await rm(file, { force: true });
  await writeFileAtomic(path, receipt.chunks());
  for (const [file, content] of signatures) await writeFileAtomic(file, content);
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
