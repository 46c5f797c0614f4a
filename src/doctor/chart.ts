import * as z from '../core/zod.ts';
import { faultAt, type Finding, ok } from './finding.ts';
import { steps } from './names.ts';
import { publicRegistry, type SeenPod } from './pod.ts';

/** One revision of a Helm release, by the labels of its secret. */
export interface SeenRelease {
  name: string;
  status: string;
  revision: number;
}

const labels = z.record(z.string(), z.string()).nullish();

/** Secrets that Helm keeps its releases in; of them only the labels are asked for. */
export const releaseListSchema = z.looseObject({
  items: z.array(z.looseObject({ metadata: z.looseObject({ labels }) })),
});

/** The newest revision of each release. */
export function readReleases({ items }: z.infer<typeof releaseListSchema>): SeenRelease[] {
  const newest = new Map<string, SeenRelease>();
  for (const { metadata } of items) {
    const { name = '', status = '', version = '0' } = metadata.labels ?? {};
    const revision = Number(version);
    if (revision >= (newest.get(name)?.revision ?? 0)) newest.set(name, { name, status, revision });
  }
  return [...newest.values()];
}

/** The charts that pods come from, and installs that do not end. */
export function chartFindings(releases: readonly SeenRelease[], pods: readonly SeenPod[]): Finding[] {
  const charts = new Set(
    pods.flatMap(({ labels: { 'helm.sh/chart': chart } }) => (chart === undefined ? [] : [chart])),
  );
  const found: Finding[] = charts.size === 0 ? [] : [ok('cluster', 'charts', [...charts].sort().join(', '))];
  for (const { name, status } of releases.filter((each) => each.status.startsWith('pending-'))) {
    const stuck = pods.flatMap((pod) =>
      pod.containers
        .filter(
          (container) =>
            !container.ready && container.waiting !== undefined && publicRegistry(container.image) !== undefined,
        )
        .map(({ image }) => ({ pod, image })),
    );
    const [first] = stuck;
    if (!first) continue;
    const part = first.pod.labels['app.kubernetes.io/name'] ?? first.pod.labels['helm.sh/chart'] ?? first.pod.name;
    found.push(
      faultAt(
        'cluster',
        `release ${name}`,
        'chart-hangs',
        `it is \`${status}\`, waiting for ${stuck.map(({ pod, image }) => `\`${pod.name}\` (\`${image}\`)`).join(', ')}`,
        steps(
          'what comes from the zone, and what is switched off, stands in the values that this writes: sie-mirror values RECEIPT --for sie --out deploy',
          `helm -n NAMESPACE uninstall ${name}`,
          `helm -n NAMESPACE install ${name} CHART -f deploy/sie/values-*.yaml --set ${part}.install=false`,
        ),
      ),
    );
  }
  return found;
}
