import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FaultId } from '../../src/doctor/faults.ts';
import type { DoctorCase } from './doctor-case.ts';
import { multiArch } from './images.ts';
import { type KubeOptions, offlineArgs, offlineEnv, pod, podEvent, type PodSwitches, pullSecret } from './kube.ts';
import { model, models } from './sick-zone.ts';

const digest = multiArch('doctor').digest as `sha256:${string}`;

function inCluster(fault: FaultId, when: string, options: KubeOptions): DoctorCase {
  return {
    fault,
    when,
    look: async (zone) =>
      zone.doctor({ kubeconfig: await zone.cluster({ secrets: [pullSecret('registry.zone')], ...options }) }),
  };
}

const internal = 'registry.zone/sie/sie-server:v0.3.4-cuda12-default';
const healthy = { models: { 'sie-worker-0': { models: [] } } };

function pulling(
  fault: FaultId,
  when: string,
  words: string,
  switches: PodSwitches = {},
  more: KubeOptions = {},
): DoctorCase {
  const stuck = pod({
    waiting: { reason: 'ImagePullBackOff', message: `Back-off pulling image "${switches.image ?? internal}"` },
    ...switches,
  });
  const event = podEvent('sie-worker-0', `Failed to pull image "${switches.image ?? internal}": ${words}`);
  return inCluster(fault, when, { pods: [stuck], events: [event], ...more });
}

const notFound = `rpc error: code = NotFound desc = failed to pull and unpack image: ${internal}: not found`;
const denied = 'failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized';

function importedAs(fault: FaultId, when: string, target: string): DoctorCase {
  const { look: _, ...rest } = pulling(fault, when, notFound);
  return {
    ...rest,
    look: async (zone) => {
      zone.insecureHosts = ['127.0.0.1:9'];
      const received = { reference: 'x', target, digest, digests: [] };
      const receipt = await zone.receipt({ models: [], targets: {}, images: [received] });
      const stuck = pod({ waiting: { reason: 'ErrImagePull', message: notFound } });
      const kubeconfig = await zone.cluster({ pods: [stuck], secrets: [pullSecret('registry.zone')] });
      return zone.doctor({ receipt, kubeconfig });
    },
  };
}

const { SIE_POOL: _, ...poolless } = offlineEnv;

/** A pod that runs and does not take work. */
function notReady(name: string, container: string): object {
  const containerStatuses = [{ name: container, ready: false, restartCount: 0, state: { running: {} } }];
  return pod({ name, container, image: `registry.zone/sie/${container}:2`, status: { containerStatuses } });
}

/** The log of a container that ended with 1. */
function dying(fault: FaultId, when: string, log: string, switches: PodSwitches = {}): DoctorCase {
  return inCluster(fault, when, { pods: [pod({ exitCode: 1, ...switches })], logs: { 'sie-worker-0/worker': log } });
}

function failing(fault: FaultId, when: string, name: string, error: object | string): DoctorCase {
  return inCluster(fault, when, {
    pods: [pod()],
    models: { 'sie-worker-0': { models: [{ name, state: 'failed', last_error: error }] } },
  });
}

export const clusterCases: DoctorCase[] = [
  {
    fault: 'kube-unreachable',
    when: 'nothing listens at the server of the kubeconfig',
    look: async (zone) => {
      const config =
        'current-context: z\nclusters: [{name: z, cluster: {server: "http://127.0.0.1:9"}}]\ncontexts: [{name: z, context: {cluster: z, user: z}}]\nusers: [{name: z, user: {}}]\n';
      await writeFile(join(zone.path, 'kubeconfig'), config);
      return zone.doctor({ kubeconfig: 'kubeconfig' });
    },
  },
  {
    fault: 'kube-config',
    when: 'the kubeconfig was cut off on its way',
    look: async (zone) => {
      await writeFile(join(zone.path, 'kubeconfig'), 'apiVersion: v1\nclusters: [{name: zone, cluster: {ser');
      return zone.doctor({ kubeconfig: 'kubeconfig' });
    },
  },
  {
    fault: 'kube-denied',
    when: 'the token of the kubeconfig has expired',
    look: async (zone) => {
      await zone.cluster({});
      const text = await readFile(join(zone.path, 'kubeconfig'), 'utf8');
      await writeFile(join(zone.path, 'kubeconfig'), text.replace('canary-kube-token', 'expired'));
      return zone.doctor({ kubeconfig: 'kubeconfig' });
    },
  },
  pulling('pull-secret-missing', 'the pod names a pull secret that nobody made', denied, {}, { secrets: [] }),
  pulling('pull-secret-host', 'the pull secret is for ghcr.io', denied, {}, { secrets: [pullSecret('ghcr.io')] }),
  pulling('pull-denied', 'the password in the pull secret is wrong', denied),
  pulling(
    'pull-tls',
    'the node does not know the authority',
    'tls: failed to verify certificate: x509: certificate signed by unknown authority',
  ),
  pulling('pull-platform', 'an image was pushed from an arm64 laptop', `no match for platform in manifest: not found`),
  importedAs(
    'pull-tag',
    'the values say `v0.3.4`: there is no plain tag',
    'registry.zone/sie/sie-server:v0.3.4-cuda12-sglang',
  ),
  importedAs(
    'pull-path',
    'the values name another path than the one imported to',
    'registry.zone/superlinked/sie-server:v0.3.4-cuda12-default',
  ),
  inCluster('chart-hangs', 'a sub-chart was not switched off', {
    pods: [
      pod({
        name: 'keda-0',
        image: 'ghcr.io/kedacore/keda:2.14.0',
        labels: { 'app.kubernetes.io/name': 'keda' },
        waiting: { reason: 'ErrImagePull', message: 'dial tcp 140.82.121.33:443: i/o timeout' },
      }),
    ],
    secrets: [
      pullSecret('registry.zone'),
      {
        metadata: {
          name: 'sh.helm.release.v1.sie.v1',
          labels: { owner: 'helm', name: 'sie', status: 'pending-install', version: '1' },
        },
      },
    ],
  }),
  pulling('public-image', 'a template names its image itself', 'dial tcp: lookup registry.k8s.io: no such host', {
    image: 'registry.k8s.io/pause:3.10',
  }),
  pulling('pull-failed', 'the runtime says something else', 'failed to extract layer: input/output error'),
  dying(
    'worker-denied',
    'IRSA or Workload Identity without the right to read',
    'botocore.exceptions.ClientError: An error occurred (403) when calling the HeadObject operation: Forbidden\n',
    { init: true },
  ),
  dying(
    'worker-credentials',
    'no secret with keys is mounted',
    'botocore.exceptions.NoCredentialsError: Unable to locate credentials\n',
  ),
  dying(
    'worker-tls',
    'AWS_CA_BUNDLE is not set',
    'botocore.exceptions.SSLError: SSL validation failed for https://minio.zone [SSL: CERTIFICATE_VERIFY_FAILED]\n',
  ),
  dying(
    'worker-endpoint',
    'AWS_ENDPOINT_URL_S3 is not set',
    'botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "https://models.s3.amazonaws.com/"\n',
  ),
  inCluster('pod-unschedulable', 'every GPU is taken, or the device plugin does not run', {
    pods: [pod({ status: { phase: 'Pending', containerStatuses: [] } })],
    events: [
      podEvent(
        'sie-worker-0',
        '0/3 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available.',
        'FailedScheduling',
      ),
    ],
  }),
  inCluster('pod-volume', 'the values name a secret that nobody made', {
    pods: [pod({ waiting: { reason: 'ContainerCreating' } })],
    events: [
      podEvent(
        'sie-worker-0',
        'MountVolume.SetUp failed for volume "zone-ca" : secret "zone-ca" not found',
        'FailedMount',
      ),
    ],
  }),
  inCluster('pod-container', 'a variable comes from a secret that nobody made', {
    pods: [pod({ waiting: { reason: 'CreateContainerConfigError', message: 'secret "model-bucket" not found' } })],
  }),
  inCluster('pod-evicted', 'the models fill the disk of the node', {
    pods: [
      pod({
        exitCode: 137,
        status: {
          phase: 'Failed',
          reason: 'Evicted',
          message: 'The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 8Gi.',
        },
      }),
    ],
  }),
  inCluster('pod-unready', 'NATS does not find its peers', {
    pods: [notReady('nats-0', 'nats')],
    events: [podEvent('nats-0', 'Readiness probe failed: HTTP probe failed with statuscode: 503', 'Unhealthy')],
  }),
  inCluster('cluster-cache-ignored', 'a chart before 0.7 sets the variable only (trap B)', {
    pods: [pod({ args: ['serve'] })],
    ...healthy,
  }),
  inCluster('cluster-cache-missing', 'the cluster cache is not switched on', {
    pods: [pod({ args: ['serve'], env: { HF_HUB_OFFLINE: '1', DO_NOT_TRACK: '1' } })],
    ...healthy,
  }),
  {
    fault: 'cluster-cache-elsewhere',
    when: 'the values name an older release of the models',
    look: async (zone) => {
      await zone.bucket();
      const env = { ...offlineEnv, SIE_CLUSTER_CACHE: 's3://models/old/models' };
      const kubeconfig = await zone.cluster({
        pods: [pod({ env })],
        secrets: [pullSecret('registry.zone')],
        ...healthy,
      });
      return zone.doctor({ models, kubeconfig });
    },
  },
  inCluster('offline-missing', 'the values lack `HF_HUB_OFFLINE` (trap A)', {
    pods: [pod({ env: { ...offlineEnv, HF_HUB_OFFLINE: '0' } })],
    ...healthy,
  }),
  inCluster('fallback-ignored', 'the values have `SIE_HF_FALLBACK=false` instead (trap C)', {
    pods: [pod({ env: { ...offlineEnv, HF_HUB_OFFLINE: '', SIE_HF_FALLBACK: 'false' } })],
    ...healthy,
  }),
  inCluster('pool-missing', 'a worker was deployed by hand', {
    pods: [pod({ env: poolless }), pod({ name: 'sie-gateway-0', image: 'registry.zone/sie/sie-gateway:v0.3.4' })],
    ...healthy,
  }),
  inCluster('telemetry-on', 'the values leave telemetry on', {
    pods: [pod({ env: { ...offlineEnv, SIE_TELEMETRY_DISABLED: '0' }, args: offlineArgs })],
    ...healthy,
  }),
  inCluster('image-public', 'a node holds an image that others would have to fetch', {
    pods: [pod({ name: 'gate-0', container: 'gate', image: 'alpine:3.19' })],
  }),
  failing('hub-asked', 'a model was not imported', 'BAAI/bge-m3', {
    code: 'NETWORK',
    message:
      "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files. Couldn't reach huggingface.co/BAAI/bge-m3/resolve/main/config.json",
  }),
  failing('cache-poisoned', 'a pod began while the upload was running (trap F)', model, {
    code: 'UNKNOWN',
    message: 'SafetensorError: Error while deserializing header: MetadataIncompleteBuffer',
  }),
  failing('load-config', 'a model was imported after the worker had looked', model, {
    code: 'CONFIG',
    message: 'OfflineModeIsEnabled',
  }),
  failing('load-memory', 'the model is too large for the GPU', model, {
    code: 'OOM',
    message: 'CUDA out of memory',
  }),
  failing('load-dependency', 'the SIE bundle lacks its adapter', model, {
    code: 'DEPENDENCY',
    message: "No module named 'gliner'",
  }),
  failing('load-slow', 'the bucket is slow, or a model twice as large as it should be', model, {
    code: 'TIMEOUT',
    message: 'load did not finish within 600 s',
  }),
  failing('load-failed', 'for another reason', model, {
    code: 'UNKNOWN',
    message: 'ValueError: unexpected key',
  }),
  dying('pod-failing', 'a container ends for a reason that is not known here', 'something else\n', {
    container: 'worker',
    image: 'registry.zone/sie/nats:2',
  }),
];
