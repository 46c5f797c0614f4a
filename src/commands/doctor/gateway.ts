import { toMirrorError } from '../../core/errors.ts';
import { inBackticks, plural } from '../../core/text.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from '../../doctor/finding.ts';
import { bringModel, restartWorkers, steps } from '../../doctor/names.ts';
import { quoted } from '../../doctor/shell.ts';
import { SieClient } from '../../sie/client.ts';
import { askable, listLive, type SieHealth, type SieWorker } from '../../sie/health.ts';
import { sameButCase, servedAs, weightsOf } from '../../sie/model-names.ts';
import type { SieModel } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { readTokens } from '../places/tokens.ts';
import { answerFault, forwardSteps } from './answer.ts';
import { type Hosts, unreachable } from './hosts.ts';
import { askWorkers, checkWorker, readWorker } from './worker.ts';

/** Asks the gateway, and each worker that it names. @param imported repos; undefined when nobody knows */
export async function checkGateway(
  url: string,
  imported: ReadonlySet<string> | undefined,
  hosts: Hosts,
  context: Context,
): Promise<Finding[]> {
  context.report({ type: 'stage', text: `asking ${url}` });
  const address = new URL(url);
  const error = await hosts.reach(new URL('/healthz', address));
  if (error) {
    const change = steps(
      'see whether it runs, and its address and port: kubectl -n NAMESPACE get pods,services',
      ...forwardSteps,
    );
    return [await unreachable('gateway', address, error, change)];
  }
  const client = new SieClient(context.http, url, readTokens(context.env));
  try {
    const health = await client.health();
    const models = await client.models();
    if (!health)
      return [
        notSeen('gateway', url, 'it is a worker of its own: what it says of itself follows'),
        ...modelsFound(models, imported),
        ...(await checkWorker(url, imported, context)),
      ];
    return [
      ok('gateway', url, `it is healthy and knows ${plural(models.length, 'model')}`),
      ...profiles(health, (models.find(({ id }) => imported?.has(weightsOf(id))) ?? models[0])?.id ?? 'MODEL'),
      ...modelsFound(models, imported),
      ...(await followWorkers(address, health, imported, context)),
    ];
  } catch (thrown) {
    return [answerFault(toMirrorError(thrown), url)];
  }
}

function profiles({ configured, live, workers }: SieHealth, model: string): Finding[] {
  const idle = configured.filter((profile) => !live.includes(profile));
  if (!workers.some(({ healthy }) => healthy))
    return [
      faultAt(
        'gateway',
        'workers',
        'workers-none',
        `configured are ${inBackticks(configured)}, and ${workers.length === 0 ? 'no worker has come' : `all ${workers.length} workers are dead`}`,
        steps(
          'why, says: sie-mirror doctor --kubeconfig ~/.kube/config --namespace NAMESPACE',
          'or by hand, where Pending is no node or quota and ImagePullBackOff no image: kubectl -n NAMESPACE get pods; kubectl -n NAMESPACE describe pods',
        ),
      ),
    ];
  return [
    ok('gateway', 'workers', `live: ${listLive(workers)}`),
    ...idle.map((profile) =>
      warningAt(
        'gateway',
        `profile ${profile}`,
        'profile-idle',
        'no worker of it is live: work for it goes to any other worker, or waits for one',
        `to have one started, and wait for it: sie-mirror smoke GATEWAY_URL --model ${quoted(model)} --gpu ${quoted(profile)}`,
      ),
    ),
  ];
}

/** Not every imported repo is a model of its own: companions are none. */
function modelsFound(models: readonly SieModel[], imported: ReadonlySet<string> | undefined): Finding[] {
  if (imported === undefined)
    return [
      notSeen('gateway', 'models', 'whether the imported models are known to it', 'give `--models` or `--receipt`'),
    ];
  const known = models.map(({ id }) => id);
  const first = known[0] === undefined ? undefined : weightsOf(known[0]);
  const here = [...imported].filter((repo) => servedAs(repo, models).length > 0);
  const cases = [...imported].flatMap((repo) => {
    const near = sameButCase(repo, models);
    return near === undefined ? [] : [{ repo, near }];
  });
  const found = cases.map(({ repo, near }) =>
    faultAt(
      'gateway',
      near,
      'model-case',
      `imported is \`${repo}\`: names are compared with case, and a worker looks for \`models--${near.replace('/', '--')}\``,
      steps(bringModel(near), `then: ${restartWorkers}`),
    ),
  );
  if (here.length === 0 && imported.size > 0 && found.length === 0)
    return [
      faultAt(
        'gateway',
        'models',
        'model-unknown',
        `imported are ${inBackticks([...imported].slice(0, 5))}, it knows ${inBackticks(known.slice(0, 5))}${known.length > 5 ? ', ...' : ''}`,
        steps(
          'which SIE bundle has them says: curl GATEWAY_URL/v1/configs/bundles',
          'deploy that one, with worker images whose tag ends in its name; or bring a model that the cluster knows:',
          ...(first === undefined ? [] : [bringModel(first)]),
        ),
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
  { workers }: SieHealth,
  imported: ReadonlySet<string> | undefined,
  context: Context,
): Promise<Finding[]> {
  const ask = async ({ name, url }: SieWorker): Promise<Finding[]> => {
    try {
      await context.http.checkReach(gateway, new URL(url), {});
      return await readWorker(name, url, imported, context);
    } catch (error) {
      return [
        notSeen(
          'gateway',
          `worker ${name}`,
          `the state of its models: ${toMirrorError(error).message}`,
          steps(
            `give \`--kubeconfig FILE\`, or in another terminal: kubectl -n NAMESPACE port-forward ${quoted(`pod/${name}`)} 8080`,
            'and then: sie-mirror doctor --worker http://127.0.0.1:8080',
          ),
        ),
      ];
    }
  };
  return askWorkers(askable(workers), ask, context);
}
