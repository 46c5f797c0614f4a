import { readFile } from 'node:fs/promises';
import { endsRun, type MirrorError } from '../../core/errors.ts';
import { faultAt, type Finding, notSeen } from '../../doctor/finding.ts';
import { steps } from '../../doctor/names.ts';
import { quoted } from '../../doctor/shell.ts';
import { isForbidden } from '../../kube/client.ts';
import { inClusterAccess, type KubeAccess, kubeconfigAccess } from '../../kube/config.ts';
import type { Context } from '../context.ts';
import { unreachable } from './hosts.ts';
import { stopped } from './not-lost.ts';

/** How a cluster is found. */
export interface AccessOptions {
  kubeconfig?: string | undefined;
  /** Name of a context in it, if not the current one. */
  kubeContext?: string | undefined;
  inCluster?: boolean | undefined;
}

/** @throws E_USAGE, E_NOT_FOUND, E_MANIFEST */
export async function readAccess(
  { kubeconfig, kubeContext, inCluster }: AccessOptions,
  context: Context,
): Promise<KubeAccess> {
  if (inCluster || kubeconfig === undefined) return inClusterAccess(context.env);
  const path = context.path(kubeconfig);
  const { readYaml } = await import('../../manifest/yaml.ts');
  return kubeconfigAccess(readYaml(await readFile(path, 'utf8'), kubeconfig), path, kubeContext, context.env);
}

/** @throws what is no matter of the file */
export function unusable(error: MirrorError, kubeconfig: string): Finding {
  if (endsRun(error)) throw error;
  const path = quoted(kubeconfig);
  return faultAt(
    'cluster',
    kubeconfig,
    'kube-config',
    error.message,
    steps(
      error.hint,
      `what is in it, without its secrets: kubectl config view --kubeconfig ${path}`,
      'a good one lies at ~/.kube/config of whoever runs the cluster, or comes from them',
    ),
  );
}

/** Why the API says nothing. @throws as `stopped` */
export async function apiFault(error: MirrorError, server: URL, namespace: string): Promise<Finding> {
  if (isForbidden(error))
    return notSeen(
      'cluster',
      `namespace ${namespace}`,
      error.message,
      `have whoever runs the cluster type: kubectl -n ${namespace} create rolebinding sie-mirror-doctor --clusterrole=view --user=USER`,
    );
  if (error.code === 'E_AUTH')
    return faultAt(
      'cluster',
      server.host,
      'kube-denied',
      error.message,
      steps('who one is by it: kubectl auth whoami', 'have whoever runs the cluster give a fresh kubeconfig or token'),
    );
  if (['E_NETWORK', 'E_TLS', 'E_REMOTE', 'E_PROTOCOL', 'E_NOT_FOUND', 'E_RATE_LIMIT'].includes(error.code))
    return unreachable(
      'cluster',
      server,
      error,
      'if that is not the server of the cluster, mend `server:` in the kubeconfig, or take another context: --context NAME',
    );
  return stopped('cluster', `namespace ${namespace}`, error);
}

/** Whether nothing else would be answered either. */
export function isShut(error: MirrorError): boolean {
  return !isForbidden(error) && ['E_AUTH', 'E_NETWORK', 'E_TLS'].includes(error.code);
}
