import { printable } from '../core/text.ts';
import type { FaultId } from './faults.ts';

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

const restart = 'kubectl delete pod POD';

/** The most telling first: a traceback that ends in one of these often names others on its way. */
const known: readonly Known[] = [
  {
    fault: 'marker-key',
    pattern: /IsADirectoryError/,
    fix: 'sie-mirror doctor --models s3://BUCKET/PREFIX names the key; remove it, then kubectl delete pod POD',
  },
  {
    fault: 'tree-wrong',
    pattern: /IncompleteSnapshotError/,
    fix: `sie-mirror import BUNDLE --models s3://BUCKET/PREFIX, then ${restart}`,
  },
  {
    fault: 'worker-credentials',
    pattern:
      /SignatureDoesNotMatch|InvalidAccessKeyId|NoCredentialsError|Unable to locate credentials|ExpiredToken|InvalidClientTokenId/,
    fix: 'mend the secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY that `workers.common.extraEnv` names, or the role of the service account',
  },
  {
    fault: 'worker-denied',
    pattern:
      /AccessDenied|\b403\b[^\n]*(?:Forbidden|HeadObject|GetObject|ListObjects|bucket|storage)|(?:HeadObject|GetObject|ListObjectsV2)[^\n]*\b403\b/,
    fix: "allow `s3:ListBucket` on the bucket and `s3:GetObject` on its objects for the worker's role: kubectl describe serviceaccount NAME shows which",
  },
  { fault: 'bucket-missing', pattern: /NoSuchBucket/, fix: 'check `workers.common.clusterCache.url`' },
  {
    fault: 'worker-tls',
    pattern: /CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSL validation failed/,
    fix: 'mount the authority into the workers and set `AWS_CA_BUNDLE` to its path in `workers.common.extraEnv`',
  },
  {
    fault: 'worker-endpoint',
    pattern: /Could not connect to the endpoint URL|EndpointConnectionError|ConnectTimeoutError/,
    fix: 'set `AWS_ENDPOINT_URL_S3` in `workers.common.extraEnv` to the address of the store',
  },
  {
    fault: 'offline-missing',
    pattern: /_patch_mistral_regex|model_info\(/,
    fix: 'helm upgrade ... with `workers.common.extraEnv: [{name: HF_HUB_OFFLINE, value: "1"}]`',
  },
  {
    fault: 'hub-asked',
    pattern:
      /huggingface\.co|hf\.co\/|OfflineModeIsEnabled|LocalEntryNotFoundError|couldn'?t connect to the Hub|GatedRepoError|RepositoryNotFoundError/i,
    fix: 'sie-mirror snapshot REPO --filter sie --with-companions on the online side, bundle and import it, then kubectl delete pod POD',
  },
  {
    fault: 'load-memory',
    pattern: /out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED/i,
    fix: 'serve it on a machine profile with more memory, or fewer models on this one',
  },
  {
    fault: 'cache-poisoned',
    pattern:
      /SafetensorError|InvalidHeader|incomplete metadata|PytorchStreamReader|UnpicklingError|EOFError|MetadataIncompleteBuffer/,
    fix: `when doctor finds the bucket whole: ${restart}; a restart of the container keeps the bad copy`,
  },
  {
    fault: 'load-dependency',
    pattern: /ModuleNotFoundError|ImportError|No module named/,
    fix: 'serve it with the SIE bundle that has its adapter: see `GET /v1/configs/bundles`',
  },
];

/** Classes of a failed load: https://github.com/superlinked/sie */
const byClass: Record<string, Pick<Known, 'fault' | 'fix'>> = {
  OOM: known.find(({ fault }) => fault === 'load-memory') ?? { fault: 'load-memory', fix: '' },
  DEPENDENCY: known.find(({ fault }) => fault === 'load-dependency') ?? { fault: 'load-dependency', fix: '' },
  CONFIG: {
    fault: 'load-config',
    fix: `import the model, then ${restart}: this class is permanent, the worker does not look again`,
  },
  NOT_FOUND: known.find(({ fault }) => fault === 'hub-asked') ?? { fault: 'hub-asked', fix: '' },
  NETWORK: known.find(({ fault }) => fault === 'hub-asked') ?? { fault: 'hub-asked', fix: '' },
  GATED: known.find(({ fault }) => fault === 'hub-asked') ?? { fault: 'hub-asked', fix: '' },
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
    fix: 'kubectl logs POD shows the whole of it',
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
