import { printable } from '../core/text.ts';
import type { FaultId } from './faults.ts';
import { bringModel, importModels, lasting, restartWorkers, steps } from './names.ts';

/** What a worker's own words mean. */
export interface Explanation {
  fault: FaultId;
  /** The line that told. */
  said: string;
  fix: string;
  /** The repo that was asked for, where the words name one. */
  repo?: string | undefined;
}

interface Known {
  fault: FaultId;
  pattern: RegExp;
  fix: string;
}

const restart = 'kubectl -n NAMESPACE delete pod POD';
const setEnv = 'kubectl -n NAMESPACE set env WORKLOAD';
const setHub = `${setEnv} HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1`;

/** What a worker's identity has to be allowed: https://docs.aws.amazon.com/AmazonS3/latest/userguide/security_iam_service-with-iam.html */
export const readPolicy =
  '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":"arn:aws:s3:::BUCKET"},{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::BUCKET/*"}]}';

const needsRepo = { fault: 'hub-asked', fix: steps(bringModel('REPO'), `when it is there: ${restart}`) } as const;
const needsMemory = {
  fault: 'load-memory',
  fix: steps(
    'serve it on a machine profile with more memory (a100-40gb, a100-80gb), or fewer models on this one: in the values of the chart, under `workers.pools`',
    `then: ${restart}`,
  ),
} as const;
const needsAdapter = {
  fault: 'load-dependency',
  fix: steps(
    'serve it with the SIE bundle that has its adapter, whose worker image is sie-server:vVERSION-PLATFORM-SIE_BUNDLE; which one has it says: curl GATEWAY_URL/v1/configs/bundles',
  ),
} as const;

/** The most telling first: a traceback that ends in one of these often names others on its way. */
const known: readonly Known[] = [
  {
    fault: 'marker-key',
    pattern: /IsADirectoryError/,
    fix: steps(
      'find the object whose key ends in `/`, and remove it as is said there: sie-mirror doctor --models MODELS_URL',
      `then: ${restartWorkers}`,
    ),
  },
  { fault: 'tree-wrong', pattern: /IncompleteSnapshotError/, fix: steps(importModels, `then: ${restart}`) },
  {
    fault: 'worker-credentials',
    pattern:
      /SignatureDoesNotMatch|InvalidAccessKeyId|NoCredentialsError|Unable to locate credentials|ExpiredToken|InvalidClientTokenId/,
    fix: steps(
      'kubectl -n NAMESPACE create secret generic model-bucket --from-literal=AWS_ACCESS_KEY_ID=ACCESS_KEY --from-literal=AWS_SECRET_ACCESS_KEY=SECRET_KEY --dry-run=client -o yaml | kubectl -n NAMESPACE apply -f -',
      `${setEnv} --from=secret/model-bucket`,
      lasting,
      'where the pods have a role instead of keys, see that the service account names it: kubectl -n NAMESPACE describe serviceaccount SERVICE_ACCOUNT',
    ),
  },
  {
    fault: 'worker-denied',
    pattern:
      /AccessDenied|\b403\b[^\n]*(?:Forbidden|HeadObject|GetObject|ListObjects|bucket|storage)|(?:HeadObject|GetObject|ListObjectsV2)[^\n]*\b403\b/,
    fix: steps(
      'see who the pods are, by a role in the annotations, or without one by the keys that they are given: kubectl -n NAMESPACE describe serviceaccount SERVICE_ACCOUNT',
      `have whoever keeps the bucket give that role or key this policy: ${readPolicy}`,
      `then: ${restart}`,
    ),
  },
  {
    fault: 'bucket-missing',
    pattern: /NoSuchBucket/,
    fix: steps(
      'the workers were told a bucket that does not exist; what they were told: kubectl -n NAMESPACE get pod POD -o yaml | grep -A1 SIE_CLUSTER_CACHE',
      `with the right address: ${setEnv} SIE_CLUSTER_CACHE=s3://...`,
      lasting,
    ),
  },
  {
    fault: 'worker-tls',
    pattern: /CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSL validation failed/,
    fix: steps(
      'kubectl -n NAMESPACE create configmap zone-ca --from-file=ca.pem=CA_FILE --dry-run=client -o yaml | kubectl -n NAMESPACE apply -f -',
      'have the workers see it: kubectl -n NAMESPACE patch WORKLOAD -p \'{"spec":{"template":{"spec":{"volumes":[{"name":"zone-ca","configMap":{"name":"zone-ca"}}],"containers":[{"name":"CONTAINER","volumeMounts":[{"name":"zone-ca","mountPath":"/zone-ca"}],"env":[{"name":"AWS_CA_BUNDLE","value":"/zone-ca/ca.pem"}]}]}}}}\'',
      'the chart cannot mount it: patch again after each helm upgrade, or build the authority into the image of the workers',
    ),
  },
  {
    fault: 'worker-endpoint',
    pattern: /Could not connect to the endpoint URL|EndpointConnectionError|ConnectTimeoutError/,
    fix: steps(`${setEnv} AWS_ENDPOINT_URL_S3=STORE_URL`, lasting),
  },
  { fault: 'offline-missing', pattern: /_patch_mistral_regex|model_info\(/, fix: steps(setHub, lasting) },
  {
    ...needsRepo,
    pattern:
      /huggingface\.co|hf\.co\/|OfflineModeIsEnabled|LocalEntryNotFoundError|couldn'?t connect to the Hub|GatedRepoError|RepositoryNotFoundError/i,
  },
  { ...needsMemory, pattern: /out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED/i },
  {
    fault: 'cache-poisoned',
    pattern:
      /SafetensorError|InvalidHeader|incomplete metadata|PytorchStreamReader|UnpicklingError|EOFError|MetadataIncompleteBuffer/,
    fix: steps(
      'see that the bucket is whole: sie-mirror doctor --models MODELS_URL --receipt RECEIPT',
      `when it is, as a restart of the container keeps the bad copy: ${restart}`,
    ),
  },
  { ...needsAdapter, pattern: /ModuleNotFoundError|ImportError|No module named/ },
];

/** Classes of a failed load: https://github.com/superlinked/sie */
const byClass: Record<string, Pick<Known, 'fault' | 'fix'>> = {
  OOM: needsMemory,
  DEPENDENCY: needsAdapter,
  CONFIG: {
    fault: 'load-config',
    fix: steps(
      importModels,
      `then, as the worker does not look again by itself: ${restart}`,
      'when doctor finds the bucket whole, the second step is all',
    ),
  },
  TIMEOUT: {
    fault: 'load-slow',
    fix: steps(
      'see how long it takes from there: kubectl -n NAMESPACE logs POD',
      'see that nothing is downloaded that nobody needs, such as `blobs/` or a second snapshot: sie-mirror doctor --models MODELS_URL',
      `then: ${restart}`,
    ),
  },
  NOT_FOUND: needsRepo,
  NETWORK: needsRepo,
  GATED: needsRepo,
};

/** The line of a log that tells most, explained; undefined when nothing in it is known. */
export function explainLog(text: string): Explanation | undefined {
  for (const { fault, pattern, fix } of known) {
    const said = text.split('\n').findLast((line) => pattern.test(line));
    if (said !== undefined) return { fault, said: shortened(said), fix, repo: repoIn(text) };
  }
  return undefined;
}

/**
 * Why a model was not loaded.
 * @param errorClass as the worker says: GATED, NOT_FOUND, OOM, NETWORK, DEPENDENCY, CONFIG, TIMEOUT, UNKNOWN
 */
export function explainFailure(errorClass: string, message: string): Explanation {
  const said = shortened(`${errorClass === '' ? '' : `${errorClass}: `}${message}`);
  // The class of a model that was not found says more of what to do than the words about it.
  if (errorClass === 'CONFIG')
    return { fault: 'load-config', said, fix: byClass['CONFIG']?.fix ?? '', repo: repoIn(message) };
  const told = explainLog(message);
  if (told) return { ...told, said };
  const { fault, fix } = byClass[errorClass] ?? {
    fault: 'load-failed' as const,
    fix: 'the whole of it: kubectl -n NAMESPACE logs POD',
  };
  return { fault, said, fix, repo: repoIn(message) };
}

/** The repo that a loader names when it does not get it. */
function repoIn(text: string): string | undefined {
  const name = '([\\w.-]+/[\\w.-]+?)';
  const patterns = [
    `huggingface\\.co/(?:api/(?:models|datasets)/)?${name}(?:/(?:resolve|tree|revision|raw)/|[\\s'"?)]|\\.?$)`,
    `models--([\\w.-]+?--[\\w.-]+?)(?:/|['"\\s]|$)`,
    `(?:like|load|find|for|repo|model|from)\\s+['"\`]?${name}['"\`]?(?:\\s|$|[,;:.]\\s)`,
    `\\(url: /(?:api/models/)?${name}(?:/|\\s)`,
  ];
  for (const pattern of patterns) {
    const found = new RegExp(pattern, 'im').exec(text)?.[1];
    if (found !== undefined) return found.includes('/') ? found : found.replace('--', '/');
  }
  return undefined;
}

function shortened(line: string): string {
  return printable(line.trim()).slice(0, 300);
}
