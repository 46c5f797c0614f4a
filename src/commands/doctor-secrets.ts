import { toMirrorError } from '../core/errors.ts';
import { z } from '../core/validate.ts';
import { type Finding, notSeen, ok } from '../doctor/finding.ts';
import type { SeenPod } from '../doctor/pod.ts';
import { isForbidden, type KubeClient } from '../kube/client.ts';

/** For which registries a pull secret is; nothing else of it is kept. */
export interface CheckedSecret {
  hosts: string[];
}

export interface PullSecretSight {
  findings: Finding[];
  /** Undefined for a secret that does not exist; one that may not be seen is left out. */
  known: ReadonlyMap<string, CheckedSecret | undefined>;
}

const secretSchema = z.looseObject({ data: z.record(z.string(), z.string()).nullish() });
const configSchema = z.looseObject({ auths: z.record(z.string(), z.unknown()).default({}) });

/** The pull secrets that pods name. https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/ */
export async function readPullSecrets(
  client: KubeClient,
  namespace: string,
  pods: readonly SeenPod[],
): Promise<PullSecretSight> {
  const findings: Finding[] = [];
  const known = new Map<string, CheckedSecret | undefined>();
  for (const name of new Set(pods.flatMap(({ pullSecrets }) => pullSecrets)))
    try {
      const secret = await client.get(
        `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(name)}`,
        secretSchema,
      );
      const hosts = secret && hostsOf(secret.data ?? {});
      known.set(name, hosts && { hosts });
      // That it does not exist is told of the pod that wants it.
      if (hosts)
        findings.push(
          ok(
            'cluster',
            `secret ${name}`,
            `it is for ${hosts.map((host) => `\`${host}\``).join(', ') || 'no registry'}`,
          ),
        );
    } catch (error) {
      const refused = toMirrorError(error);
      if (!isForbidden(refused)) throw refused;
      findings.push(notSeen('cluster', `secret ${name}`, refused.message));
    }
  return { findings, known };
}

function hostsOf(data: Record<string, string>): string[] {
  const current = data['.dockerconfigjson'];
  const text = Buffer.from(current ?? data['.dockercfg'] ?? '', 'base64').toString('utf8');
  try {
    const document: unknown = JSON.parse(text);
    const auths =
      current === undefined ? z.record(z.string(), z.unknown()).parse(document) : configSchema.parse(document).auths;
    return Object.keys(auths).map((key) => key.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));
  } catch {
    return [];
  }
}
