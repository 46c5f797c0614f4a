import { type MirrorError, toMirrorError } from '../core/errors.ts';
import { plural } from '../core/text.ts';
import { parseJson, z } from '../core/validate.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from '../doctor/finding.ts';
import { explainFailure } from '../doctor/known-messages.ts';
import { type HttpResponse, redactUrl } from '../http/client.ts';
import { SieClient } from '../sie/client.ts';
import type { SieHealth } from '../sie/health.ts';
import type { Context } from './context.ts';
import { type Hosts, unreachable } from './doctor-hosts.ts';

const answerLimit = 16 * 1024 * 1024;
const failureSchema = z.union([
  z.string().transform((message) => ({ error_class: '', message })),
  z.looseObject({ error_class: z.string().default(''), message: z.string().default('') }),
]);

/** What a worker says of its models: `GET /v1/models`. */
export const workerModelsSchema = z.looseObject({
  models: z
    .array(
      z.looseObject({
        name: z.string(),
        state: z.string().optional(),
        last_error: failureSchema.nullish(),
      }),
    )
    .default([]),
});
const healthSchema = z.looseObject({
  workers: z
    .array(
      z.looseObject({ name: z.string().default(''), url: z.string().default(''), healthy: z.boolean().default(false) }),
    )
    .default([]),
});

/** Asks the gateway, and each worker that it names. @param imported repos; undefined when nobody knows */
export async function checkGateway(
  url: string,
  imported: ReadonlySet<string> | undefined,
  hosts: Hosts,
  context: Context,
): Promise<Finding[]> {
  const address = new URL(url);
  const error = await hosts.reach(new URL('/healthz', address));
  const ids = { unreachable: 'gateway-unreachable', tls: 'gateway-tls', setting: '`--gateway`' } as const;
  if (error) return [await unreachable('gateway', address, error, ids)];
  const client = new SieClient(context.http, url, { token: context.env['SIE_AUTH_TOKEN']?.trim() || undefined });
  try {
    const health = await client.health();
    const models = (await client.models()).map(({ id }) => id);
    if (!health)
      return [
        notSeen('gateway', url, 'it is a worker of its own: what it says of itself follows'),
        ...modelsFound(models, imported),
        ...(await checkWorker(url, imported, context)),
      ];
    return [
      ok('gateway', url, `it is healthy and knows ${plural(models.length, 'model')}`),
      ...profiles(health),
      ...modelsFound(models, imported),
      ...(await followWorkers(address, imported, context)),
    ];
  } catch (thrown) {
    return [gatewayFault(toMirrorError(thrown), url)];
  }
}

function gatewayFault(error: MirrorError, url: string): Finding {
  const at = (fault: Parameters<typeof faultAt>[2], fix: string): Finding =>
    faultAt('gateway', url, fault, error.message, error.hint ?? fix);
  if (error.code === 'E_AUTH') return at('gateway-denied', 'set SIE_AUTH_TOKEN');
  if (error.code === 'E_SMOKE' || error.code === 'E_PROTOCOL')
    return at('gateway-other', 'kubectl get services shows the address of the gateway');
  if (error.code === 'E_TLS') return at('gateway-tls', 'name the authority with `--ca FILE`');
  if (error.code === 'E_NETWORK' || error.code === 'E_REMOTE')
    return at('gateway-unreachable', 'kubectl get pods shows whether the gateway runs');
  throw error;
}

function profiles({ configured, live, workers }: SieHealth): Finding[] {
  const idle = configured.filter((profile) => !live.includes(profile));
  const healthy = workers.filter((worker) => worker.healthy);
  if (healthy.length === 0)
    return [
      faultAt(
        'gateway',
        'workers',
        'workers-none',
        `configured are ${named(configured)}, and ${workers.length === 0 ? 'no worker has come' : `all ${workers.length} workers are dead`}`,
        'sie-mirror doctor --kubeconfig FILE --namespace NS says why; or: kubectl get pods, kubectl describe pod POD',
      ),
    ];
  const listed = healthy.map(
    ({ name, profile, memoryBytes }) => `\`${name}\` (${profile}${memoryBytes > 0 ? '' : ', no GPU memory'})`,
  );
  return [
    ok('gateway', 'workers', `live: ${listed.join(', ')}`),
    ...idle.map((profile) =>
      warningAt(
        'gateway',
        `profile ${profile}`,
        'profile-idle',
        'no worker of it is live: work for it goes to any other worker, or waits for one',
        `sie-mirror smoke URL --model ID --gpu ${profile} waits for one`,
      ),
    ),
  ];
}

/** Not every imported repo is a model of its own: companions are none. */
function modelsFound(known: readonly string[], imported: ReadonlySet<string> | undefined): Finding[] {
  if (imported === undefined)
    return [
      notSeen('gateway', 'models', 'whether the imported models are known to it', 'give `--models` or `--receipt`'),
    ];
  const here = [...imported].filter((repo) => known.includes(repo));
  const cases = [...imported].flatMap((repo) => {
    const near = known.find((id) => id !== repo && id.toLowerCase() === repo.toLowerCase());
    return near === undefined ? [] : [{ repo, near }];
  });
  const found = cases.map(({ repo, near }) =>
    faultAt(
      'gateway',
      near,
      'model-case',
      `imported is \`${repo}\`: names are compared with case, and a worker looks for \`models--${near.replace('/', '--')}\``,
      `sie-mirror snapshot ${near} on the online side, then bundle and import it`,
    ),
  );
  if (here.length === 0 && imported.size > 0 && found.length === 0)
    return [
      faultAt(
        'gateway',
        'models',
        'model-unknown',
        `imported are ${named([...imported].slice(0, 5))}, it knows ${named(known.slice(0, 5))}${known.length > 5 ? ', ...' : ''}`,
        'deploy the SIE bundle that has them (`GET /v1/configs/bundles` lists them), or import the models that it knows',
      ),
    ];
  return [
    ...found,
    ok('gateway', 'models', `${here.length} of ${imported.size} imported repos are models that it knows`),
  ];
}

/** Through a gateway a model that cannot be loaded is "loading" for ever; only its worker knows why. */
async function followWorkers(
  gateway: URL,
  imported: ReadonlySet<string> | undefined,
  context: Context,
): Promise<Finding[]> {
  const response = await ask(new URL('/health', gateway), context, context.env['SIE_AUTH_TOKEN']?.trim());
  const { workers } = healthSchema.parse(parseJson(await response.bytes(answerLimit), '/health', 'E_SMOKE'));
  const findings: Finding[] = [];
  for (const { name, url, healthy } of workers) {
    if (!healthy || !/^https?:\/\//.test(url) || !URL.canParse(url)) continue;
    try {
      await context.http.checkReach(gateway, new URL(url), {});
      findings.push(...(await readWorker(name, url, imported, context)));
    } catch (error) {
      findings.push(
        notSeen(
          'gateway',
          `worker ${name}`,
          `the state of its models: ${toMirrorError(error).message}`,
          `give \`--kubeconfig FILE\`, or: kubectl port-forward pod/${name} 8080 & sie-mirror doctor --worker http://127.0.0.1:8080`,
        ),
      );
    }
  }
  return findings;
}

/** Asks a worker itself. @param url that the user gave */
export async function checkWorker(
  url: string,
  imported: ReadonlySet<string> | undefined,
  context: Context,
): Promise<Finding[]> {
  try {
    return await readWorker(new URL(url).host, url, imported, context);
  } catch (error) {
    return [gatewayFault(toMirrorError(error), url)];
  }
}

async function readWorker(
  name: string,
  url: string,
  imported: ReadonlySet<string> | undefined,
  context: Context,
): Promise<Finding[]> {
  const response = await ask(new URL('/v1/models', url), context);
  const said = parseJson(await response.bytes(answerLimit), `${url}/v1/models`, 'E_SMOKE');
  return workerFindings('gateway', name, said, imported);
}

async function ask(url: URL, context: Context, token?: string): Promise<HttpResponse> {
  const headers = { accept: 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
  return context.http.send({ method: 'GET', url, headers, at: { item: redactUrl(url) }, follow: false });
}

/** The models that a worker failed to load, each with its reason. @param said what `GET /v1/models` answered */
export function workerFindings(
  layer: 'cluster' | 'gateway',
  worker: string,
  said: unknown,
  imported: ReadonlySet<string> | undefined,
): Finding[] {
  const read = workerModelsSchema.safeParse(said);
  if (!read.success) return [notSeen(layer, `worker ${worker}`, 'it does not say what became of its models')];
  const failed = read.data.models.filter(({ state, last_error: error }) => state === 'failed' || error);
  if (failed.length === 0) return [ok(layer, `worker ${worker}`, 'no model has failed to load')];
  return failed.map(({ name, last_error: error }) => {
    const { fault, said: words, fix, repo } = explainFailure(error?.error_class ?? '', error?.message ?? '');
    return failureFinding({ layer, model: name, worker, fault, words, fix, repo: repo ?? name, imported });
  });
}

interface Failure {
  layer: 'cluster' | 'gateway';
  model: string;
  worker: string;
  fault: NonNullable<Finding['fault']>;
  words: string;
  fix: string;
  repo: string;
  imported: ReadonlySet<string> | undefined;
}

/** A repo that was asked for is the model itself, or a companion; and it may be in the bucket all the same. */
export function failureFinding({ layer, model, worker, fault, words, fix, repo, imported }: Failure): Finding {
  const evidence = model === `pod ${worker}` ? words : `worker \`${worker}\`: ${words}`;
  const mend = fix.replaceAll(/\bPOD\b/g, worker);
  if (fault !== 'hub-asked') return faultAt(layer, model, fault, evidence, mend);
  const other = repo.toLowerCase() !== model.toLowerCase() && model.includes('/');
  if (imported?.has(repo))
    return faultAt(
      layer,
      model,
      'load-config',
      `${evidence}; \`${repo}\` is in the bucket now`,
      `kubectl delete pod ${worker}: the worker looked before it was there, and does not look again`,
    );
  const what = other ? `\`${model}\` asked for its companion \`${repo}\`` : `it asked for \`${repo}\``;
  const bucket = imported === undefined ? '' : ', which is not in the bucket';
  return faultAt(
    layer,
    model,
    other ? 'companion-missing' : 'hub-asked',
    `${what}${bucket}; ${evidence}`,
    mend.replace('snapshot REPO', `snapshot ${other ? repo : model}`),
  );
}

function named(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ') || 'none';
}
