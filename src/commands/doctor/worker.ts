import { toMirrorError } from '../../core/errors.ts';
import { limitTo, requestsAtOnce } from '../../core/limit.ts';
import { plural } from '../../core/text.ts';
import type { FaultId } from '../../doctor/faults.ts';
import { faultAt, type Finding, notSeen, ok } from '../../doctor/finding.ts';
import { explainFailure } from '../../doctor/known-messages.ts';
import { quoted } from '../../doctor/shell.ts';
import { SieClient } from '../../sie/client.ts';
import { weightsOf } from '../../sie/model-names.ts';
import type { SieModel } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { answerFault } from './answer.ts';

/** A worker has its list at hand: one that needs longer hangs. */
export const workerAnswerMs = 10_000;

/**
 * Asks workers side by side, and says for what is waited.
 * @returns what was found, in the order of the workers
 */
export async function askWorkers<T>(
  workers: readonly T[],
  ask: (worker: T) => Promise<Finding[]>,
  context: Context,
): Promise<Finding[]> {
  if (workers.length === 0) return [];
  const text = `asking ${plural(workers.length, 'worker')} for their models, for ${workerAnswerMs / 1000} s at most`;
  context.report({ type: 'stage', text });
  const slots = limitTo(requestsAtOnce(context.slots));
  return (await Promise.all(workers.map(async (worker) => slots(() => ask(worker))))).flat();
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
    return [answerFault(toMirrorError(error), url)];
  }
}

/** @throws what `SieClient.models` throws */
export async function readWorker(
  name: string,
  url: string,
  imported: ReadonlySet<string> | undefined,
  context: Context,
): Promise<Finding[]> {
  // The token is the gateway's.
  const client = new SieClient(context.http, url, { token: undefined });
  client.boundAnswers(workerAnswerMs);
  return workerFindings('gateway', name, await client.models(), imported);
}

/** The models that a worker failed to load, each with its reason. @param models what it says of them, if it does */
export function workerFindings(
  layer: 'cluster' | 'gateway',
  worker: string,
  models: readonly SieModel[] | undefined,
  imported: ReadonlySet<string> | undefined,
): Finding[] {
  if (models === undefined) return [notSeen(layer, `worker ${worker}`, 'it does not say what became of its models')];
  const failed = models.filter(({ state, lastError }) => state === 'failed' || lastError);
  if (failed.length === 0) return [ok(layer, `worker ${worker}`, 'no model has failed to load')];
  return failed.map(({ id, lastError }) => {
    const { fault, said, fix, repo } = explainFailure(lastError?.errorClass ?? '', lastError?.message ?? '');
    return failureFinding({ layer, model: id, worker, fault, words: said, fix, repo: repo ?? weightsOf(id), imported });
  });
}

interface Failure {
  layer: 'cluster' | 'gateway';
  model: string;
  worker: string;
  fault: FaultId;
  words: string;
  fix: string;
  repo: string;
  imported: ReadonlySet<string> | undefined;
}

/** A repo that was asked for is the model itself, or a companion; and it may be in the bucket all the same. */
export function failureFinding({ layer, model, worker, fault, words, fix, repo, imported }: Failure): Finding {
  const evidence = model === `pod ${worker}` ? words : `worker \`${worker}\`: ${words}`;
  const mend = fix.replaceAll(/\bPOD\b/g, () => quoted(worker));
  if (fault !== 'hub-asked') return faultAt(layer, model, fault, evidence, mend);
  const own = weightsOf(model);
  const other = repo.toLowerCase() !== own.toLowerCase() && own.includes('/');
  if (imported?.has(repo))
    return faultAt(
      layer,
      model,
      'load-config',
      `${evidence}; \`${repo}\` is in the bucket now`,
      `the worker looked before it was there, and does not look again by itself: kubectl -n NAMESPACE delete pod ${quoted(worker)}`,
    );
  const what = other ? `\`${model}\` asked for its companion \`${repo}\`` : `it asked for \`${repo}\``;
  const bucket = imported === undefined ? '' : ', which is not in the bucket';
  return faultAt(
    layer,
    model,
    other ? 'companion-missing' : 'hub-asked',
    `${what}${bucket}; ${evidence}`,
    mend.replaceAll(/\bREPO\b/g, () => quoted(other ? repo : own)),
  );
}
