import type { ErrorCode } from '../core/errors.ts';

interface Fault {
  /** The cause in one line. */
  title: string;
  /** Its exit code is that of the run when this is the most probable cause. */
  code: ErrorCode;
}

/**
 * Every fault that doctor knows, causes before what they cause: whatever stands higher explains what stands below, so
 * that of several faults the first of this table is the one to begin with.
 */
const table = {
  'clock-off': { title: 'the clock of this machine is wrong', code: 'E_AUTH' },
  'disk-full': { title: 'this machine has no space left', code: 'E_NO_SPACE' },
  'bundle-missing': { title: 'there is no bundle at this path', code: 'E_NOT_FOUND' },
  'bundle-damaged': { title: 'the bundle is not whole', code: 'E_CORRUPT' },
  'bundle-newer': { title: 'the bundle was made by a newer release of this tool', code: 'E_REFUSED' },
  'bucket-unreachable': { title: 'the object store does not answer', code: 'E_NETWORK' },
  'bucket-tls': { title: 'the certificate of the object store is not trusted', code: 'E_TLS' },
  'bucket-missing': { title: 'there is no such bucket', code: 'E_NOT_FOUND' },
  'bucket-credentials': { title: 'the object store does not take the credentials', code: 'E_AUTH' },
  'bucket-region': { title: 'the bucket is in another region than the one that is asked', code: 'E_AUTH' },
  'bucket-list-denied': { title: '403 from the bucket: `s3:ListBucket` is not allowed', code: 'E_AUTH' },
  'bucket-get-denied': { title: '403 from the bucket: `s3:GetObject` is not allowed', code: 'E_AUTH' },
  'bucket-empty': { title: 'there is no model at this address', code: 'E_NOT_FOUND' },
  'registry-unreachable': { title: 'the registry does not answer', code: 'E_NETWORK' },
  'registry-tls': { title: 'the certificate of the registry is not trusted', code: 'E_TLS' },
  'registry-denied': { title: 'the registry does not take the credentials', code: 'E_AUTH' },
  'image-missing': { title: 'an image is not in the registry', code: 'E_NOT_FOUND' },
  'image-other': { title: 'a tag names another image than the one imported', code: 'E_DIGEST_MISMATCH' },
  'image-damaged': { title: 'a manifest in the registry is not the one that was imported', code: 'E_CORRUPT' },
  'image-platform': { title: 'no match for platform in manifest: the image lacks one', code: 'E_MISSING' },
  'image-blob': { title: 'an image lacks one of its blobs', code: 'E_MISSING' },
  'kube-unreachable': { title: 'the Kubernetes API does not answer', code: 'E_NETWORK' },
  'kube-config': { title: 'the kubeconfig cannot be used', code: 'E_AUTH' },
  'kube-denied': { title: 'the Kubernetes API does not take the credentials', code: 'E_AUTH' },
  'pull-secret-missing': { title: 'ImagePullBackOff: the pull secret does not exist', code: 'E_AUTH' },
  'pull-secret-host': { title: 'ImagePullBackOff: the pull secret is for another registry', code: 'E_AUTH' },
  'pull-denied': { title: 'ImagePullBackOff: the registry does not take the pull secret', code: 'E_AUTH' },
  'pull-tls': { title: 'ImagePullBackOff: the node does not trust the registry', code: 'E_TLS' },
  'pull-platform': { title: 'ImagePullBackOff: no match for platform in manifest', code: 'E_MISSING' },
  'pull-tag': { title: 'ImagePullBackOff: the repository has no such tag', code: 'E_NOT_FOUND' },
  'pull-path': { title: 'ImagePullBackOff: there is no such repository in the registry', code: 'E_NOT_FOUND' },
  'chart-hangs': { title: 'the chart install hangs: a sub-chart wants images from a public registry', code: 'E_SMOKE' },
  'public-image': { title: 'ImagePullBackOff: the image names a public registry', code: 'E_NETWORK' },
  'pull-failed': { title: 'ImagePullBackOff', code: 'E_SMOKE' },
  'pod-unschedulable': { title: 'a pod is Pending: no node takes it', code: 'E_SMOKE' },
  'pod-volume': { title: 'a pod waits for a volume', code: 'E_SMOKE' },
  'pod-container': { title: 'a container cannot be made', code: 'E_SMOKE' },
  'pod-evicted': { title: 'a node has thrown a pod out', code: 'E_SMOKE' },
  'worker-denied': { title: '403 from the bucket in Init: the worker may not read it', code: 'E_AUTH' },
  'worker-credentials': { title: 'the worker has no valid credentials for the bucket', code: 'E_AUTH' },
  'worker-tls': { title: 'the worker does not trust the certificate of the object store', code: 'E_TLS' },
  'worker-endpoint': { title: 'the worker does not reach the object store', code: 'E_NETWORK' },
  'marker-key': { title: 'a key that ends in `/` crashes the worker (IsADirectoryError)', code: 'E_CORRUPT' },
  'model-missing': { title: 'a model of the receipt is not in the bucket', code: 'E_MISSING' },
  'model-incomplete': { title: 'a model is in the bucket in part', code: 'E_MISSING' },
  'content-wrong': { title: 'a file in the bucket is not the one that was imported', code: 'E_CORRUPT' },
  'ref-missing': { title: '`refs/main` is missing: no worker finds the snapshot by name', code: 'E_MISSING' },
  'ref-newline': { title: '`refs/main` ends in a line break', code: 'E_CORRUPT' },
  'ref-wrong': { title: '`refs/main` is not a commit of 40 hex digits', code: 'E_CORRUPT' },
  'ref-dangling': { title: '`refs/main` names a snapshot that is not there', code: 'E_CORRUPT' },
  'tree-wrong': { title: '`trees/COMMIT.json` does not list exactly what is there', code: 'E_CORRUPT' },
  'cluster-cache-ignored': { title: 'the workers ignore `SIE_CLUSTER_CACHE`', code: 'E_SMOKE' },
  'cluster-cache-missing': { title: 'the workers have no cluster cache', code: 'E_SMOKE' },
  'cluster-cache-elsewhere': { title: 'the workers read another bucket or path', code: 'E_SMOKE' },
  'fallback-ignored': { title: '`SIE_HF_FALLBACK=false` has no effect', code: 'E_SMOKE' },
  'offline-missing': { title: 'the workers ask the Hub: `HF_HUB_OFFLINE=1` is not set', code: 'E_SMOKE' },
  'companion-missing': { title: "couldn't reach huggingface.co: a companion was not imported", code: 'E_MISSING' },
  'hub-asked': { title: "couldn't reach huggingface.co: a model was not imported", code: 'E_MISSING' },
  'cache-poisoned': { title: 'a worker keeps a model that it downloaded in part', code: 'E_CORRUPT' },
  'load-config': { title: 'a model was missing when the worker looked (CONFIG, permanent)', code: 'E_SMOKE' },
  'load-memory': { title: 'a model does not fit into the memory of the GPU', code: 'E_SMOKE' },
  'load-dependency': { title: 'the worker image lacks what the model needs', code: 'E_SMOKE' },
  'load-slow': { title: 'a model did not come within the time that a worker waits for it', code: 'E_NETWORK' },
  'load-failed': { title: 'a model cannot be loaded', code: 'E_SMOKE' },
  'pool-missing': { title: 'a worker names no pool and gets no work', code: 'E_SMOKE' },
  'pod-failing': { title: 'a pod does not run', code: 'E_SMOKE' },
  'pod-unready': { title: 'a pod is not ready', code: 'E_SMOKE' },
  'gateway-unreachable': { title: 'the gateway does not answer', code: 'E_NETWORK' },
  'gateway-tls': { title: 'the certificate of the gateway is not trusted', code: 'E_TLS' },
  'gateway-denied': { title: 'the gateway does not take the token', code: 'E_AUTH' },
  'gateway-other': { title: 'what answers is not SIE', code: 'E_SMOKE' },
  'workers-none': { title: 'no worker is live', code: 'E_SMOKE' },
  'model-case': { title: 'the gateway knows the model in another case', code: 'E_SMOKE' },
  'model-unknown': { title: 'the gateway knows none of the imported models', code: 'E_NOT_FOUND' },
  'receipt-damaged': { title: 'a receipt that lies with the models is damaged', code: 'E_CORRUPT' },
  'blobs-doubled': { title: '`blobs/` doubles storage and every cold start', code: 'E_SMOKE' },
  'snapshots-many': { title: 'workers download every snapshot of a model, and there are several', code: 'E_SMOKE' },
  leftovers: { title: 'files of a local cache were uploaded with the model', code: 'E_SMOKE' },
  'tree-missing': { title: '`trees/COMMIT.json` is missing', code: 'E_SMOKE' },
  'file-too-large': { title: 'a file is larger than clients of the Hub fetch by plain HTTP', code: 'E_SMOKE' },
  'prefix-not-models': { title: 'the address does not end with `/models`', code: 'E_SMOKE' },
  'node-old': { title: 'this Node.js is older than what the tool is made for', code: 'E_REFUSED' },
  'virtual-host': { title: 'the bucket is not reachable as a host name', code: 'E_NETWORK' },
  'profile-idle': { title: 'a machine profile has no live worker', code: 'E_SMOKE' },
  'image-public': { title: 'a running pod has an image of a public registry', code: 'E_SMOKE' },
  'telemetry-on': { title: 'SIE sends telemetry', code: 'E_SMOKE' },
} as const satisfies Record<string, Fault>;

export type FaultId = keyof typeof table;

export const faults: Readonly<Record<FaultId, Fault>> = table;

/** Where a fault stands in the order of causes. */
export function rankOf(id: FaultId): number {
  return Object.keys(table).indexOf(id);
}
