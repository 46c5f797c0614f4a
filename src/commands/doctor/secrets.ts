import { inBackticks } from '../../core/text.ts';
import { toMirrorError } from '../../core/errors.ts';
import * as z from '../../core/zod.ts';
import { type Finding, ok } from '../../doctor/finding.ts';
import type { SeenPod } from '../../doctor/pod.ts';
import type { KubeClient } from '../../kube/client.ts';
import { type CredentialFile, parseCredentialFile } from '../../oci/access/credential-file.ts';
import { isShut } from './kube-access.ts';
import { stopped } from './not-lost.ts';

/** What is kept of a pull secret while doctor runs. */
export interface CheckedSecret {
  /** For which registries it is. */
  hosts: string[];
  /** Undefined for one that no kubelet can read. */
  credentials: CredentialFile | undefined;
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
      const checked = secret && readSecret(secret.data ?? {}, name);
      known.set(name, checked);
      // That it does not exist is told of the pod that wants it.
      if (checked)
        findings.push(ok('cluster', `secret ${name}`, `it is for ${inBackticks(checked.hosts, 'no registry')}`));
    } catch (error) {
      const refused = toMirrorError(error);
      if (isShut(refused)) throw refused;
      findings.push(stopped('cluster', `secret ${name}`, refused));
    }
  return { findings, known };
}

function readSecret(data: Record<string, string>, name: string): CheckedSecret {
  const current = data['.dockerconfigjson'];
  try {
    const document: unknown = JSON.parse(Buffer.from(current ?? data['.dockercfg'] ?? '', 'base64').toString('utf8'));
    const config = configSchema.parse(current === undefined ? { auths: document } : document);
    const hosts = Object.keys(config.auths).map((key) => key.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));
    return { hosts, credentials: parseCredentialFile(JSON.stringify(config), `secret ${name}`) };
  } catch {
    return { hosts: [], credentials: undefined };
  }
}
