import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';

/** What differs between charts of SIE, as far as values reach. */
export interface ChartShape {
  version: string;
  /** Whether the worker gets `--cluster-cache`. */
  clusterCacheArgument: boolean;
  /** A side-car for workers. */
  sidecar: boolean;
  /** An init container for the gateway, a payload store that is on, and pools that map SIE bundles. */
  lanes: boolean;
}

/** Writes a chart that reads the same values as `sie-cluster` of that version, and NATS below it as its own chart does. */
export async function writeSieChart(directory: string, shape: ChartShape): Promise<void> {
  const files: Record<string, string> = {
    'Chart.yaml': chartFile('sie-cluster', shape.version),
    'values.yaml': stringify(defaultValues(shape)),
    'templates/services.yaml': services(shape),
    'templates/workers.yaml': workers(shape),
    'charts/nats/Chart.yaml': chartFile('nats', '2.12.6'),
    'charts/nats/values.yaml': stringify(natsValues),
    'charts/nats/templates/nats.yaml': nats,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }
}

function chartFile(name: string, version: string): string {
  return stringify({ apiVersion: 'v2', name, version, appVersion: `v${version}` });
}

const sie = 'ghcr.io/superlinked';

function defaultValues({ sidecar, lanes }: ChartShape): unknown {
  const image = (name: string): object => ({ image: { repository: `${sie}/${name}`, tag: '' } });
  const bundles = lanes ? { bundles: { default: { minReplicas: 1, maxReplicas: 1 } } } : { bundle: 'default' };
  return {
    global: { imagePullSecrets: [] },
    config: image('sie-config'),
    gateway: { ...image('sie-gateway'), waitForConfig: { enabled: lanes, image: 'busybox:1.37.0' } },
    workers: {
      common: {
        ...image('sie-server'),
        platform: 'cuda12',
        imagePrepull: { enabled: true },
        clusterCache: { enabled: false, url: '' },
        hfCache: { home: '/models/huggingface', tokenSecret: '' },
        extraEnv: [],
        ...(sidecar ? { workerSidecar: image('sie-server-sidecar') } : {}),
      },
      pools: { l4: { enabled: false, ...bundles } },
    },
    serviceAccount: { create: true, name: 'sie-server', annotations: {} },
    hfToken: { create: true },
    telemetry: { enabled: true },
    payloadStore: { enabled: lanes, url: '' },
    nats: {},
  };
}

const natsValues = {
  global: { image: { pullSecretNames: [] } },
  container: { image: { repository: 'nats', tag: '2.12.6-alpine' } },
  reloader: { enabled: true, image: { repository: 'natsio/nats-server-config-reloader', tag: '0.21.1' } },
  natsBox: { enabled: true, container: { image: { repository: 'natsio/nats-box', tag: '0.19.3' } } },
};

const pullSecrets = `
      {{- with $.Values.global.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}`;

/** A Deployment of one container, with what is given as the rest of its pod. */
function deployment(name: string, pod: string): string {
  return `---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:${pod}
`;
}

function services({ lanes }: ChartShape): string {
  const container = (name: string): string => `
      containers:
        - name: ${name}
          image: {{ printf "%s:%s" .Values.${name}.image.repository (default .Chart.AppVersion .Values.${name}.image.tag) }}`;
  const wait = `
      {{- if .Values.gateway.waitForConfig.enabled }}
      initContainers:
        - name: wait-for-config
          image: {{ .Values.gateway.waitForConfig.image }}
      {{- end }}`;
  const payloads = `{{- if and .Values.payloadStore.enabled (not .Values.payloadStore.url) }}
{{- fail "payloadStore has no url" }}
{{- end }}
`;
  const account = `---
{{- if .Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Values.serviceAccount.name }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
`;
  return [
    payloads,
    deployment('config', `${pullSecrets}${container('config')}`),
    deployment('gateway', `${pullSecrets}${lanes ? wait : ''}${container('gateway')}`),
    account,
  ].join('');
}

function workers({ clusterCacheArgument, sidecar, lanes }: ChartShape): string {
  const argument = `
            {{- if $common.clusterCache.enabled }}
            - --cluster-cache=$(SIE_CLUSTER_CACHE)
            {{- end }}`;
  const sidecarContainer = `
        - name: worker-sidecar
          image: {{ printf "%s:%s" $common.workerSidecar.image.repository (default $.Chart.AppVersion $common.workerSidecar.image.tag) }}`;
  const bundle = lanes ? '{{- range $bundle, $_ := $pool.bundles }}' : '{{- with $bundle := $pool.bundle }}';
  return `{{- $common := .Values.workers.common }}
{{- range $name, $pool := .Values.workers.pools }}
{{- if $pool.enabled }}
${bundle}
{{- $image := printf "%s:%s-%s-%s" $common.image.repository (default $.Chart.AppVersion $common.image.tag) (default $common.platform $pool.platform) $bundle }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: worker-{{ $name }}-{{ $bundle }}
  labels: { app.kubernetes.io/component: worker }
spec:
  serviceName: worker
  selector: { matchLabels: { app: worker } }
  template:
    metadata: { labels: { app: worker } }
    spec:${pullSecrets}
      serviceAccountName: {{ $.Values.serviceAccount.name }}
      containers:
        - name: worker
          image: {{ $image }}
          args:
            - serve
            - --bundle={{ $bundle }}${clusterCacheArgument ? argument : ''}
          env:
            {{- if $common.hfCache.tokenSecret }}
            - name: HF_TOKEN
              valueFrom: { secretKeyRef: { name: {{ $common.hfCache.tokenSecret }}, key: token } }
            {{- end }}
            {{- if $common.clusterCache.enabled }}
            - name: SIE_CLUSTER_CACHE
              value: {{ $common.clusterCache.url | quote }}
            {{- end }}
            {{- if not $.Values.telemetry.enabled }}
            - name: SIE_TELEMETRY_DISABLED
              value: "1"
            {{- end }}
            {{- with $common.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}${sidecar ? sidecarContainer : ''}
{{- if $common.imagePrepull.enabled }}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: prepull-{{ $name }}-{{ $bundle }}
spec:
  selector: { matchLabels: { app: prepull } }
  template:
    metadata: { labels: { app: prepull } }
    spec:${pullSecrets}
      initContainers:
        - name: worker
          image: {{ $image }}
      containers:
        - name: pause
          image: registry.k8s.io/pause:3.10
{{- end }}
{{- end }}
{{- end }}
{{- end }}
`;
}

const natsPullSecrets = `
      {{- with .Values.global.image.pullSecretNames }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}`;

const natsImage = (path: string): string =>
  `{{ printf "%s:%s" .Values.${path}.image.repository .Values.${path}.image.tag }}`;

const nats = `${deployment(
  'nats',
  `${natsPullSecrets}
      containers:
        - name: nats
          image: ${natsImage('container')}
        {{- if .Values.reloader.enabled }}
        - name: reloader
          image: ${natsImage('reloader')}
        {{- end }}`,
)}{{- if .Values.natsBox.enabled }}
${deployment(
  'nats-box',
  `${natsPullSecrets}
      containers:
        - name: nats-box
          image: ${natsImage('natsBox.container')}`,
)}{{- end }}
`;
