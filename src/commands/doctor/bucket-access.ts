import { MirrorError, toMirrorError } from '../../core/errors.ts';
import type { FaultId } from '../../doctor/faults.ts';
import { faultAt, type Finding, ok, warningAt } from '../../doctor/finding.ts';
import { readPolicy } from '../../doctor/known-messages.ts';
import { steps } from '../../doctor/names.ts';
import { quoted } from '../../doctor/shell.ts';
import { redactUrl } from '../../http/client.ts';
import { s3Endpoint, s3Region } from '../../objects/s3-settings.ts';
import type { Context } from '../context.ts';
import { type Hosts, trustSteps, unreachable } from './hosts.ts';

/** Where the store is by these settings. @throws E_USAGE */
export function storeAddress(env: Context['env']): URL {
  const endpoint = s3Endpoint(env) ?? `https://s3.${s3Region(env) ?? 'us-east-1'}.amazonaws.com`;
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
    throw new MirrorError('E_USAGE', 'AWS_ENDPOINT_URL_S3 is no address that begins with https:// or http://');
  return new URL(endpoint);
}

/** As it may be printed; undefined for AWS itself, and for what is no address. */
export function shownEndpoint(env: Context['env']): string | undefined {
  const own = s3Endpoint(env);
  return own !== undefined && URL.canParse(own) ? redactUrl(own).replace(/\/$/, '') : undefined;
}

/** @param store as people name it @param region that it is in */
export function regionWarning(store: string, region: string, env: Context['env']): Finding {
  const asked = s3Region(env) ?? 'us-east-1';
  return warningAt(
    'bucket',
    store,
    'bucket-region',
    `it is in \`${region}\`, \`${asked}\` was asked for: every client is sent on, and not every one follows`,
    steps(...regionSteps(region)),
  );
}

/** Name, address, certificate; and the other way to name the bucket. */
export async function bucketReach(url: string, hosts: Hosts, { env }: Context): Promise<Finding[]> {
  const bucket = /^s3:\/\/([^/]+)/.exec(url)?.[1];
  if (bucket === undefined) return [];
  const own = s3Endpoint(env);
  const asked = s3Region(env);
  const address = storeAddress(env);
  const error = await hosts.reach(new URL(`/${bucket}`, address), 'HEAD');
  if (error) {
    const change =
      own === undefined
        ? 'AWS_ENDPOINT_URL_S3 is not set, so that AWS itself was asked; if the store is another one: export AWS_ENDPOINT_URL_S3=STORE_URL'
        : 'if that is not the address of the store: export AWS_ENDPOINT_URL_S3=https://HOST:PORT';
    return [await unreachable('bucket', address, error, change)];
  }
  const region = hosts.region(address.host);
  const found = [ok('bucket', address.host, 'it answers')];
  if (region !== undefined && asked !== undefined && region !== asked)
    found.push(regionWarning(`s3://${bucket}`, region, env));
  // An address of digits has no names below it.
  if (own === undefined || /^[\d.]+$|^\[/.test(address.hostname)) return found;
  const named = new URL(address);
  named.hostname = `${bucket}.${address.hostname}`;
  const wrong = await hosts.reach(named, 'HEAD');
  if (!wrong) return [...found, ok('bucket', named.host, 'the bucket answers as a host too')];
  return [
    ...found,
    warningAt(
      'bucket',
      named.host,
      'virtual-host',
      `${wrong.message}: SIE names the bucket in the path and does not mind, NIM in DataRobot names it in the host`,
      steps(
        `for SIE there is nothing to do; for NIM have \`*.${address.hostname}\` entered in the zone's DNS with the address of the store, and in the names of its certificate`,
        `and have the store know its name; MinIO: MINIO_DOMAIN=${address.hostname} in its environment`,
      ),
    ),
  ];
}

/** Which right is missing. @throws what is no matter of access */
export function accessFinding(error: unknown, store: string, address: URL, region: string | undefined): Finding {
  const known = toMirrorError(error);
  const cause = known.cause as { name?: string; Region?: string } | undefined;
  const name = cause?.name ?? '';
  const at = (fault: FaultId, ...fix: string[]): Finding =>
    faultAt('bucket', store, fault, known.message, steps(...fix));
  if (name === 'RequestTimeTooSkewed') return at('clock-off', 'sudo chronyc makestep');
  if (otherRegion.test(name))
    return at(
      'bucket-region',
      ...regionSteps(cause?.Region ?? /expecting '([\w-]+)'/.exec(known.message)?.[1] ?? region),
    );
  if (known.code === 'E_NOT_FOUND')
    return at(
      'bucket-missing',
      'the buckets that there are: aws s3 ls',
      'name the right one in `--models`, or make it: aws s3 mb s3://BUCKET',
    );
  if (known.code === 'E_AUTH' && known.message.includes('s3:ListBucket'))
    return at('bucket-list-denied', ...policySteps);
  if (known.code === 'E_AUTH' && known.message.includes('s3:GetObject')) return at('bucket-get-denied', ...policySteps);
  if (known.code === 'E_AUTH')
    return at(
      'bucket-credentials',
      known.hint ?? 'check AWS_PROFILE',
      'to name a key and its secret: export AWS_ACCESS_KEY_ID=ACCESS_KEY AWS_SECRET_ACCESS_KEY=SECRET_KEY',
      'when they are right this lists the models: aws s3 ls MODELS_URL/',
    );
  if (known.code === 'E_NETWORK' || known.code === 'E_REMOTE' || known.code === 'E_RATE_LIMIT')
    return at('bucket-unreachable', known.hint ?? 'check AWS_ENDPOINT_URL_S3', 'then: aws s3 ls MODELS_URL/');
  if (known.code === 'E_TLS') return at('bucket-tls', trustSteps(address, known.hint));
  throw known;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const otherRegion =
  /^(?:AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|IllegalLocationConstraintException)$/;

function regionSteps(region = 'REGION'): string[] {
  return [
    `export AWS_REGION=${quoted(region)}`,
    `the same for the workers: kubectl -n NAMESPACE set env WORKLOAD AWS_REGION=${quoted(region)}`,
    `so that it lasts: sie-mirror values RECEIPT --for sie --region ${quoted(region)} --out deploy && helm -n NAMESPACE upgrade RELEASE CHART --reuse-values -f deploy/sie/values-*.yaml`,
  ];
}

const policySteps = [
  `have whoever keeps the bucket give the user or role of these credentials this policy: ${readPolicy}`,
  'in MinIO: mc admin policy attach ALIAS readonly --user ACCESS_KEY',
  'doctor asks with the credentials of this machine; those of the workers need the same',
];
