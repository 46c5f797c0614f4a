import { type BundleItem, bundleFiles, type Inventory } from '../bundle/inventory.ts';
import type { Finding, SealedBundle } from '../bundle/reader.ts';
import { type Verdict, verifyBundle } from '../bundle/verify.ts';
import type { ErrorCode } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { describeBase, describeItem, nameOf } from './bundle-item.ts';
import type { Context } from './context.ts';
import { openBundle, type TrustOptions } from './sealed.ts';

export interface VerifyCommandOptions extends TrustOptions {
  bundle: string;
}

/** Signature, then the exact file set, then every byte. Offline, read-only, nothing is written anywhere. */
export async function verify(options: VerifyCommandOptions, context: Context): Promise<Report> {
  const bundle = await openBundle(options.bundle, options, context);
  context.report({ type: 'stage', text: `verifying ${options.bundle}` });
  const verdict = await verifyBundle(bundle, {
    threads: context.threads,
    onTotal: (bytes) => context.report({ type: 'total', bytes }),
    onBytes: (bytes) => context.report({ type: 'bytes', bytes }),
    signal: context.signal,
  });
  const { findings, inventory } = verdict;
  const items = [
    ...findings.map((finding) => findingItem(finding, inventory)),
    ...(inventory?.volumes ?? [])
      .filter(({ name }) => findings.every(({ file }) => file !== name))
      .map(({ name, size, digest }): ReportItem => ({ kind: 'volume', name, state: 'done', bytes: size, digest })),
    ...(inventory?.items ?? []).map((item) => contentItem(item, verdict)),
  ];
  const signatures = signaturesOf(bundle);
  const bytes = inventory?.volumes.reduce((sum, { size }) => sum + size, 0) ?? 0;
  const end =
    findings.length === 0
      ? `GOOD: ${plural(inventory?.volumes.length ?? 0, 'volume')}, ${plural(inventory?.items.length ?? 0, 'item')}, ${formatBytes(bytes)}, every byte as it was sealed${bundle.signed && bundle.signers.length === 0 ? ' (signature not checked)' : ''}`
      : `BAD: ${plural(findings.length, 'problem')}; do not use this bundle before what is named here has been copied again`;
  const summary = [
    ...signatures.map((signature) => `signature  ${signature}`),
    ...(inventory?.base ? [describeBase(inventory.base)] : []),
    ...findings.map(({ problem, message }) => `${problem.toUpperCase()}  ${message}`),
    ...[...verdict.damaged].map(([item, parts]) => `cannot be used: ${nameOf(item)} (${firstFew(parts)})`),
    end,
  ];
  const report = makeReport('verify', items, { findings: findings.length, bytes }, summary);
  const facts = {
    verdict: end,
    bundle: inventory?.name ?? options.bundle,
    'made by': inventory?.tool ?? 'unknown: the inventory cannot be read',
    signature: signatures.join('; '),
    [`digest of ${bundleFiles.sums}`]: bundle.sumsDigest,
  };
  return { ...report, facts, summaryNamesFailures: true };
}

function signaturesOf({ signed, signers }: SealedBundle): string[] {
  if (signers.length === 0) return [signed ? 'NOT CHECKED (no --key)' : 'none'];
  return signers.map(({ fingerprint, role, at, comment }) => {
    const when = at === undefined ? '' : ` on ${at}`;
    return `good, by the key ${fingerprint} (${role}${when}${comment === undefined ? '' : `: ${comment}`})`;
  });
}

function firstFew(parts: readonly string[]): string {
  const shown = parts.slice(0, 3).join(', ');
  return parts.length > 3 ? `${shown} and ${parts.length - 3} more` : shown;
}

const codes: Record<Finding['problem'], ErrorCode> = {
  missing: 'E_MISSING',
  extra: 'E_CORRUPT',
  size: 'E_SIZE_MISMATCH',
  corrupt: 'E_DIGEST_MISMATCH',
  unreadable: 'E_CORRUPT',
};

function findingItem({ file, problem, message }: Finding, inventory: Inventory | undefined): ReportItem {
  return {
    kind: inventory?.volumes.some(({ name }) => name === file) ? 'volume' : 'file',
    name: file,
    state: 'failed',
    detail: { problem },
    error: { code: codes[problem], message, at: { side: 'source', item: file } },
  };
}

function contentItem(item: BundleItem, { damaged, inventory }: Verdict): ReportItem {
  const name = nameOf(item);
  const bad = damaged.get(item);
  const about = inventory ? describeItem(item, inventory) : { kind: item.kind, name, state: 'done' as const };
  if (!bad) return about;
  const message = `\`${name}\` is damaged: ${firstFew(bad)}`;
  const detail = { ...about.detail, damaged: bad };
  return { ...about, state: 'failed', detail, error: { code: 'E_CORRUPT', message, at: { item: name } } };
}
