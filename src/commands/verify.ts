import type { BundleItem } from '../bundle/inventory.ts';
import type { Finding } from '../bundle/reader.ts';
import { type Verdict, verifyBundle } from '../bundle/verify.ts';
import type { ErrorCode } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import type { Context } from './context.ts';
import { openBundle } from './sealed.ts';

export interface VerifyCommandOptions {
  bundle: string;
  /** Path of a public key. */
  key?: string | undefined;
}

/** Signature, then the exact file set, then every byte. Offline, read-only, nothing is written anywhere. */
export async function verify(options: VerifyCommandOptions, context: Context): Promise<Report> {
  const { bundle, keyFingerprint } = await openBundle(options.bundle, options.key, context);
  context.report({ type: 'stage', text: `verifying ${options.bundle}` });
  const verdict = await verifyBundle(bundle, {
    threads: context.threads,
    onTotal: (bytes) => context.report({ type: 'total', bytes }),
    onBytes: (bytes) => context.report({ type: 'bytes', bytes }),
    signal: context.signal,
  });
  const items = [
    ...verdict.findings.map(findingItem),
    ...(verdict.inventory?.items ?? []).map((item) => contentItem(item, verdict)),
  ];
  const signature =
    keyFingerprint === undefined
      ? bundle.signed
        ? 'signature  NOT CHECKED (no --key)'
        : 'signature  none'
      : `signature  good, by the key ${keyFingerprint}`;
  const bytes = verdict.inventory?.volumes.reduce((sum, { size }) => sum + size, 0) ?? 0;
  const bad = verdict.findings.length;
  const end =
    bad === 0
      ? `GOOD: ${plural(verdict.inventory?.volumes.length ?? 0, 'volume')}, ${plural(verdict.inventory?.items.length ?? 0, 'item')}, ${formatBytes(bytes)}, every byte as it was sealed${bundle.signed && keyFingerprint === undefined ? ' (signature not checked)' : ''}`
      : `BAD: ${plural(bad, 'problem')}; do not use this bundle before the files above have been copied again`;
  const damaged = verdict.damaged.map((item) => `cannot be used: ${nameOf(item)}`);
  const findings = verdict.findings.map(({ problem, message }) => `${problem.toUpperCase()}  ${message}`);
  const report = makeReport('verify', items, { findings: bad, bytes }, [signature, ...findings, ...damaged, end]);
  return { ...report, summaryNamesFailures: true };
}

const codes: Record<Finding['problem'], ErrorCode> = {
  missing: 'E_MISSING',
  extra: 'E_CORRUPT',
  size: 'E_SIZE_MISMATCH',
  corrupt: 'E_DIGEST_MISMATCH',
  unreadable: 'E_CORRUPT',
};

function findingItem({ file, problem, message }: Finding): ReportItem {
  return {
    kind: 'file',
    name: file,
    state: 'failed',
    detail: { problem },
    error: { code: codes[problem], message, at: { side: 'source', item: file } },
  };
}

function contentItem(item: BundleItem, { damaged }: Verdict): ReportItem {
  const digest = item.kind === 'image' ? { digest: item.root.digest } : {};
  if (!damaged.includes(item)) return { kind: item.kind, name: nameOf(item), state: 'done', ...digest };
  const message = `\`${nameOf(item)}\` is damaged`;
  return {
    kind: item.kind,
    name: nameOf(item),
    state: 'failed',
    ...digest,
    error: { code: 'E_CORRUPT', message, at: { item: nameOf(item) } },
  };
}

/** `ORG/NAME@COMMIT` or the image's reference. */
export function nameOf(item: BundleItem): string {
  return item.kind === 'model' ? `${item.repo}@${item.commit}` : item.reference;
}
