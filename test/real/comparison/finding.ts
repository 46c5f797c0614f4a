import type { CopyTool } from '../copy-tools.ts';
import type { CopyRun, Lab } from '../lab.ts';

/** What came out of one measurement of one tool. */
export interface Finding {
  /** `partly`: it said that all went well, and something is missing or was done that should not be; `none`: it cannot be asked for that. */
  verdict: 'ok' | 'partly' | 'fails' | 'hangs' | 'none';
  /** Numbers, or what is missing; may be empty. */
  detail: string;
}

/** A row of the comparison. */
export interface ComparisonRow {
  title: string;
  /** How it is measured, in a sentence of Markdown. */
  about: string;
  measure: (tool: CopyTool, lab: Lab) => Promise<Finding>;
}

export const none: Finding = { verdict: 'none', detail: '' };

/** What to say of a run that did not end well; undefined for one that did. */
export function failureOf(run: CopyRun | undefined, detail = ''): Finding | undefined {
  if (!run) return none;
  if (run.timedOut)
    return { verdict: 'hangs', detail: [`after ${run.seconds.toFixed(0)} s`, detail].filter(Boolean).join(', ') };
  return run.code === 0 ? undefined : { verdict: 'fails', detail };
}

/** `1.02x`. */
export function timesText(part: number, whole: number): string {
  return `${(part / whole).toFixed(3)}x`;
}

/** Digest of a manifest by GET, as the registry has it now. */
export async function digestAt(host: string, repository: string, reference: string): Promise<string | undefined> {
  const response = await manifestAt(host, repository, reference);
  await response.arrayBuffer();
  return response.ok ? (response.headers.get('docker-content-digest') ?? undefined) : undefined;
}

/** A manifest of any kind, by GET. */
export function manifestAt(host: string, repository: string, reference: string): Promise<Response> {
  const accept = ['index.v1', 'manifest.v1']
    .map((kind) => `application/vnd.oci.image.${kind}+json`)
    .concat(['manifest.list.v2', 'manifest.v2'].map((kind) => `application/vnd.docker.distribution.${kind}+json`));
  return fetch(`http://${host}/v2/${repository}/manifests/${reference}`, { headers: { accept: accept.join(', ') } });
}
