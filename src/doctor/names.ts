import { quoted } from './shell.ts';

/** What doctor has learnt of the zone, to be put into what it says to type. */
export interface Names {
  /** Directory of the bundle. */
  bundle?: string | undefined;
  /** Name of the bundle that was imported, where its directory is not known. */
  bundleName?: string | undefined;
  /** `s3://BUCKET/PREFIX` or `file:///DIR` */
  models?: string | undefined;
  /** `HOST[:PORT][/PREFIX]` */
  images?: string | undefined;
  receipt?: string | undefined;
  gateway?: string | undefined;
  /** Address of the object store, where it is not that of AWS. */
  endpoint?: string | undefined;
  /** Authorities were named with `--ca`. */
  hasOwnAuthorities?: boolean;
  namespace?: string | undefined;
  /** Pods of workers. */
  workers?: readonly string[];
  /** `sie-cluster-0.3.4` */
  chart?: string | undefined;
  /** Helm's release. */
  release?: string | undefined;
}

/** The address of models as a worker takes it: of a directory it wants the path alone. */
export function clusterCacheOf(models: string): string {
  return models.replace(/^file:\/\/(?=\/)/, '').replace(/\/+$/, '');
}

/** A word in capitals that stands in a fix for what only the zone knows. */
interface Word {
  value?: (names: Names) => string | readonly string[] | undefined;
  /** What it is, where it is not known. */
  meaning: (names: Names) => string;
}

const words: Record<string, Word> = {
  BUNDLE: {
    value: ({ bundle }) => bundle,
    meaning: ({ bundleName }) =>
      `the directory of the bundle${bundleName === undefined ? '' : ` \`${bundleName}\``} on its medium`,
  },
  MODELS_URL: { value: ({ models }) => models, meaning: () => 's3://BUCKET/PREFIX/models, where the models are' },
  CACHE_URL: {
    value: ({ models }) => models && clusterCacheOf(models),
    meaning: () => 's3://BUCKET/PREFIX/models, where the models are; of a directory its path alone',
  },
  BUCKET: {
    value: ({ models }) => /^s3:\/\/([^/]+)/.exec(models ?? '')?.[1],
    meaning: () => 'the bucket with the models',
  },
  IMAGES_PLACE: { value: ({ images }) => images, meaning: () => 'HOST/PREFIX, where the images are' },
  MANIFEST: { meaning: () => 'the mirror manifest, a YAML file of the online side' },
  MEDIUM: { meaning: () => 'the directory of the medium that is carried' },
  RECEIPT: { value: ({ receipt }) => receipt, meaning: () => 'the receipt that `sie-mirror import` wrote' },
  GATEWAY_URL: {
    value: ({ gateway }) => gateway?.replace(/\/+$/, ''),
    meaning: () => 'the address of the gateway: `kubectl get services -A` lists it',
  },
  NAMESPACE: {
    value: ({ namespace }) => namespace,
    meaning: () => 'that in which SIE runs: `kubectl get pods -A` lists all',
  },
  WORKER_PODS: {
    value: ({ workers }) => (workers && workers.length > 0 ? workers : undefined),
    meaning: () => 'the pods of the workers: `kubectl get pods -A` lists all',
  },
  WORKLOAD: { meaning: () => 'what makes the workers: `kubectl get statefulsets,deployments -A` lists all' },
  RELEASE: { value: ({ release }) => release, meaning: () => "Helm's name for SIE: `helm list -A` says it" },
  CHART: {
    value: ({ chart }) => chart && `./${chart}.tgz`,
    meaning: () => 'the file of the chart, sie-cluster-VERSION.tgz',
  },
  CA_FILE: { meaning: () => 'the file that was given with `--ca`' },
  STORE_URL: {
    value: ({ endpoint }) => endpoint,
    meaning: () => 'the address of the object store, as in AWS_ENDPOINT_URL_S3',
  },
  POD: { meaning: () => 'the pod of that worker: `kubectl get pods -A` lists all' },
  SERVICE_ACCOUNT: {
    meaning: () => 'that of the pods: `kubectl -n NAMESPACE get pod POD -o yaml | grep serviceAccountName`',
  },
  CONTAINER: { meaning: () => 'the container of the worker in its pod' },
  ACCESS_KEY: { meaning: () => 'the name of a key that may read the bucket' },
  SECRET_KEY: { meaning: () => 'the secret of that key' },
  USER: { meaning: () => 'who may pull from the registry' },
  PASSWORD: { meaning: () => 'the password of that user' },
  TOKEN: { meaning: () => 'one of the tokens that the gateway was given; the admin token may not encode' },
  REGION: { meaning: () => 'that of the bucket, which whoever keeps it knows' },
  ALIAS: { meaning: () => 'what `mc alias list` calls the store' },
  POOL: { meaning: () => 'the name of its pool in the values of the chart, mostly that of its machine profile' },
};

/** A word, and what sets it where it is a value for Helm. */
const anyWord = new RegExp(`(--set [\\w.]+=)?\\b(${Object.keys(words).join('|')})\\b`, 'g');

/** Several pods stand apart, everything else is one word for a shell. */
function asWords(value: string | readonly string[]): string {
  return typeof value === 'string' ? quoted(value) : value.map(quoted).join(' ');
}

/** A fix with the names of this zone in it. */
export function withNames(fix: string, names: Names): string {
  const { endpoint, hasOwnAuthorities = false } = names;
  const where = endpoint === undefined ? '' : ` --endpoint-url ${quoted(endpoint)}`;
  const trust = endpoint?.startsWith('https:') && hasOwnAuthorities ? ' --ca-bundle CA_FILE' : '';
  return fix
    .replaceAll(anyWord, (whole: string, set: string | undefined, word: string) => {
      const value = words[word]?.value?.(names);
      if (value === undefined) return whole;
      // Helm takes these as its own: https://helm.sh/docs/intro/using_helm/#the-format-and-limitations-of---set
      return set === undefined
        ? asWords(value)
        : `${set}${quoted(
            [value]
              .flat()
              .join(' ')
              .replaceAll(/[\\,{}]/g, '\\$&'),
          )}`;
    })
    .replaceAll(/\baws (?=s3(?:api)? )/g, `aws${where}${trust} `);
}

/** What the words mean that are left in a fix. */
export function meanings(fix: string, names: Names): string[] {
  const left = [...new Set([...fix.matchAll(anyWord)].map(([, , word = '']) => word))];
  return left.map((word) => `${word}: ${words[word]?.meaning(names) ?? ''}`);
}

/** Steps to be taken one after the other. */
export function steps(...lines: readonly (string | undefined)[]): string {
  return lines.filter((line) => line !== undefined && line !== '').join('\n');
}

export const importModels = 'sie-mirror import BUNDLE --models MODELS_URL';
export const importImages = 'sie-mirror import BUNDLE --images IMAGES_PLACE';
/** A worker does not look twice, and keeps what it has downloaded while its pod lives. */
export const restartWorkers = 'kubectl -n NAMESPACE delete pod WORKER_PODS';
/** What a setting of a workload needs to outlive the next upgrade. */
export const lasting =
  'so that it lasts: sie-mirror values RECEIPT --for sie --out deploy && helm -n NAMESPACE upgrade RELEASE CHART --reuse-values -f deploy/sie/values-*.yaml';

/** How a model comes into the zone that is not in it. */
export function bringModel(repo: string): string {
  return steps(
    `on the online side: sie-mirror snapshot ${quoted(repo)} --filter sie --with-companions --store more && sie-mirror bundle --store more --name more --out MEDIUM`,
    'here, with what that made: sie-mirror import MEDIUM/more --models MODELS_URL',
  );
}
