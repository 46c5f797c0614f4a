import { open, stat } from 'node:fs/promises';
import { totalSize } from '../core/descriptor.ts';
import { type BundleItem, bundleFiles, type BundleVolume } from '../bundle/records/inventory.ts';
import type { Finding, SealedBundle } from '../bundle/reader.ts';
import type { UncountedApproval } from '../bundle/proof/signers.ts';
import { type Verdict, verifyBundle } from '../bundle/proof/verify.ts';
import type { ErrorCode } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural, printable } from '../core/text.ts';
import { describeBase, describeItem, leftToBase, nameOf } from './bundle/item.ts';
import type { Context } from './context.ts';
import { firstFew } from './verify/place-verdict.ts';
import { verifyReceipt } from './records/receipt-signature.ts';
import { type BundlePlace, openBundle } from './records/sealed.ts';

export interface VerifyCommandOptions extends BundlePlace {
  bundle: string;
  /** Check the volumes that are here; those that are not are no fault. */
  partial?: boolean | undefined;
}

/** Signature, then the exact file set, then every byte. Offline, read-only, nothing is written anywhere. */
export async function verify(options: VerifyCommandOptions, context: Context): Promise<Report> {
  if (await isDocument(context.path(options.bundle))) return verifyReceipt(options.bundle, options, context);
  const bundle = await openBundle(options.bundle, options, context);
  context.report({ type: 'stage', text: `verifying ${options.bundle}` });
  const verdict = await verifyBundle(bundle, {
    partial: options.partial,
    threads: context.threads,
    onTotal: (bytes) => context.report({ type: 'total', bytes }),
    onBytes: (bytes) => context.report({ type: 'bytes', bytes }),
    signal: context.signal,
  });
  const { findings, inventory } = verdict;
  const faulty = new Set(findings.map(({ file }) => file));
  const volumes = new Map(inventory?.volumes.map((volume) => [volume.name, volume]));
  const absent = new Set(verdict.absent);
  const items = [
    ...findings.map((finding) => findingItem(finding, volumes.get(finding.file))),
    ...(inventory?.volumes ?? []).filter(({ name }) => !faulty.has(name)).map((volume) => volumeItem(volume, absent)),
    ...(inventory?.items ?? []).map((item) => contentItem(item, verdict)),
  ];
  const signatures = signaturesOf(bundle);
  const here = (inventory?.volumes ?? []).filter(({ name }) => !absent.has(name));
  const bytes = totalSize(here);
  const word = verdictOf(verdict, bundle);
  const end = `${word}: ${endOf(verdict, plural(here.length, 'volume'), bytes)}`;
  const name = inventory?.name ?? options.bundle;
  const summary = [
    `bundle     ${name}, its ${bundleFiles.sums} ${bundle.sumsDigest}`,
    ...signatures.map((signature) => `signature  ${signature}`),
    ...(inventory?.base ? [describeBase(inventory.base)] : []),
    ...findings.map(({ problem, message }) => `${problem.toUpperCase()}  ${message}`),
    ...[...verdict.damaged].map(([item, parts]) => `cannot be used: ${nameOf(item)} (${firstFew(parts)})`),
    end,
  ];
  const report = makeReport('verify', items, { findings: findings.length, bytes }, summary);
  const facts = {
    verdict: end,
    bundle: name,
    'made by': inventory?.tool ?? 'unknown: the inventory cannot be read',
    signature: signatures.join('; '),
    [`digest of ${bundleFiles.sums}`]: bundle.sumsDigest,
    ...(inventory?.base ? { delta: leftToBase(inventory.base) } : {}),
  };
  return { ...report, verdict: word, facts, summaryNamesFailures: true };
}

/** A receipt is one; a bundle is a directory. */
async function isDocument(path: string): Promise<boolean> {
  // To open what is no file, as a pipe, may take for ever.
  if (!(await stat(path).catch(() => undefined))?.isFile()) return false;
  const file = await open(path).catch(() => undefined);
  if (!file) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(100), 0, 100, 0);
    return buffer.toString('latin1', 0, bytesRead).trimStart().startsWith('{');
  } catch {
    return false;
  } finally {
    await file.close();
  }
}

/** All that is wrong is that nobody let us read: nothing is known of those bytes, and the rest is good. */
function isUnproven(findings: readonly Finding[]): boolean {
  return findings.length > 0 && findings.every(({ isDenied }) => isDenied);
}

/** Whoever reads the first words only must not take what nobody has signed, or what is not here, for proven. */
function verdictOf({ findings, absent }: Verdict, { signed, signers }: SealedBundle): string {
  if (isUnproven(findings)) return 'NOT PROVEN';
  if (findings.length > 0) return 'BAD';
  const good = absent.length > 0 ? 'GOOD AS FAR AS IT IS HERE' : 'GOOD';
  if (signers.length > 0) return good;
  return signed ? `${good}, SIGNATURE NOT CHECKED` : `${good}, NOT SIGNED`;
}

function endOf({ findings, inventory, absent }: Verdict, volumes: string, bytes: number): string {
  if (isUnproven(findings))
    return `${plural(findings.length, 'problem')}; see that what is named here can be read, and run the same command again`;
  if (findings.length > 0)
    return `${plural(findings.length, 'problem')}; do not use this bundle before what is named here has been copied again`;
  if (absent.length > 0)
    return `${volumes}, ${formatBytes(bytes)}, every byte as it was sealed; not here, and not checked: ${absent.join(', ')}`;
  return `${volumes}, ${plural(inventory?.items.length ?? 0, 'item')}, ${formatBytes(bytes)}, every byte as it was sealed`;
}

function volumeItem({ name, size, digest }: BundleVolume, absent: ReadonlySet<string>): ReportItem {
  const state = absent.has(name) ? 'skipped' : 'done';
  return { kind: 'volume', name, state, bytes: size, digest };
}

function signaturesOf({ signed, signers, uncounted }: SealedBundle): string[] {
  const good = signers.map(({ fingerprint, role, at, comment }) => {
    const when = at === undefined ? '' : ` on ${at}`;
    return `good, by the key ${fingerprint} (${role}${when}${comment === undefined ? '' : `: ${comment}`})`;
  });
  const own = good.length > 0 ? good : [signed ? 'NOT CHECKED (no --key)' : 'none'];
  return [...own, ...uncounted.map(describeUncounted)];
}

/** Somebody may take it for an approval that was found good: it is there, after all. */
function describeUncounted({ file, claims }: UncountedApproval): string {
  if (!claims) return `NOT CHECKED (no --key): the approval ${file}`;
  return `NOT COUNTED: an approval that names the key ${claims.fingerprint} (${printable(claims.role)}), which was not given with --key`;
}

const codes: Record<Finding['problem'], ErrorCode> = {
  missing: 'E_MISSING',
  extra: 'E_CORRUPT',
  size: 'E_SIZE_MISMATCH',
  corrupt: 'E_DIGEST_MISMATCH',
  unreadable: 'E_CORRUPT',
};

/** @param volume when the file is one: what it should have been */
function findingItem(
  { file, problem, message, blob, isDenied }: Finding,
  volume: BundleVolume | undefined,
): ReportItem {
  return {
    kind: volume ? 'volume' : 'file',
    name: file,
    state: 'failed',
    ...(volume ? { bytes: volume.size, digest: volume.digest } : {}),
    detail: { problem, ...(blob === undefined ? {} : { blob }) },
    error: { code: isDenied ? 'E_REFUSED' : codes[problem], message, at: { side: 'source', item: file } },
  };
}

function contentItem(item: BundleItem, { damaged, unjudged, inventory, findings }: Verdict): ReportItem {
  const name = nameOf(item);
  const bad = damaged.get(item);
  const about = inventory ? describeItem(item, inventory) : { kind: item.kind, name, state: 'done' as const };
  if (!bad) return unjudged.has(item) ? { ...about, state: 'skipped' } : about;
  const isOpen = isUnproven(findings);
  const message = `\`${name}\` is ${isOpen ? 'not proven' : 'damaged'}: ${firstFew(bad)}`;
  const detail = { ...about.detail, damaged: bad };
  const code = isOpen ? 'E_REFUSED' : 'E_CORRUPT';
  return { ...about, state: 'failed', detail, error: { code, message, at: { item: name } } };
}
