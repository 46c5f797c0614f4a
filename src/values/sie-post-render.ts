import type { GeneratedFile } from './generated-file.ts';
import { formatYaml } from './yaml.ts';

/** What Helm 4 calls the post-renderer: https://helm.sh/docs/plugins/developer/tutorial-postrenderer-plugin */
const pluginName = 'sie-cluster-cache';

/**
 * Charts that set SIE_CLUSTER_CACHE do not reach the worker with it: its command line unsets the variable unless it is
 * given `--cluster-cache`. No value adds an argument, so the rendered chart has to be changed.
 */
export function siePostRender(): GeneratedFile[] {
  const container = '/spec/template/spec/containers/0';
  const add = (argument: string): { op: string; path: string; value: string } => ({
    op: 'add',
    path: `${container}/args/-`,
    value: argument,
  });
  // A patch that would meet another container fails instead.
  const test = { op: 'test', path: `${container}/name`, value: 'worker' };
  const patch = formatYaml([test, add('--cluster-cache=$(SIE_CLUSTER_CACHE)'), add('--no-hf-fallback')]);
  const kustomization = formatYaml({
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: ['rendered.yaml'],
    patches: [
      {
        target: {
          kind: 'StatefulSet',
          labelSelector: 'app.kubernetes.io/component=worker,sie.superlinked.com/engine!=candle',
        },
        patch,
      },
    ],
  });
  const plugin = formatYaml({
    apiVersion: 'v1',
    type: 'postrenderer/v1',
    name: pluginName,
    version: '1.0.0',
    runtime: 'subprocess',
    runtimeConfig: { platformCommand: [{ command: '${HELM_PLUGIN_DIR}/post-render.sh' }] },
  });
  return [
    { path: 'sie/kustomization.yaml', consumer: 'sie', body: kustomization },
    { path: 'sie/plugin.yaml', consumer: 'sie', body: plugin },
    { path: 'sie/post-render.sh', consumer: 'sie', interpreter: '/bin/sh', body: script },
  ];
}

const script = `# A post-renderer of Helm 3: helm install sie sie-cluster.tgz -f values.yaml --post-renderer sie/post-render.sh
# Of Helm 4, where this directory is a plugin: helm plugin install sie, then --post-renderer ${pluginName}
# Without either: helm template sie sie-cluster.tgz -f values.yaml | sie/post-render.sh | kubectl apply -f -
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$(dirname "$0")/kustomization.yaml" "$work/"
cat >"$work/rendered.yaml"
if command -v kustomize >/dev/null 2>&1; then kustomize build "$work"; else kubectl kustomize "$work"; fi
`;
