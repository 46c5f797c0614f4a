import { toMirrorError } from '../../core/errors.ts';
import { SieClient } from '../../sie/client.ts';
import { askable, type SieHealth } from '../../sie/health.ts';
import type { SieModel } from '../../sie/models.ts';
import { workOf } from '../../sie/work-counters.ts';
import type { Context } from '../context.ts';
import { hiddenTokens, readTokens } from '../places/tokens.ts';

/** The value of `--worker` that stands for all workers at the addresses that the gateway has for them. */
export const listedWorkers = 'listed';

/** What a worker said itself of its work for one model while it was asked through the gateway. */
export interface Account {
  url: string;
  /** As the gateway lists it; undefined when that does not list this address. */
  name: string | undefined;
  /** Machine profile that it says it is of, when the gateway does not list it; undefined when it does not say. */
  profile: string | undefined;
  /** Work that its counters show; undefined when none can be seen. */
  moved: number | undefined;
  /** Ids of its processes, by which newer releases sign their answers. */
  processes: string[];
  /** Why nothing can be seen. */
  unseen: string | undefined;
}

interface Watched {
  url: string;
  name: string | undefined;
  profile: string | undefined;
  /** Whether the user gave its address: then it has to answer. */
  isGiven: boolean;
  client: SieClient;
  work: number | undefined;
  processes: string[];
  unseen: string | undefined;
}

/** No answer of a worker itself takes longer: it is not asked for work. */
const answerMs = 5000;

/** Workers that are asked themselves, without the token of the gateway, what they did meanwhile. */
export class WorkerWatch {
  readonly #model: string;
  readonly #workers: Watched[];

  private constructor(model: string, workers: Watched[]) {
    this.#model = model;
    this.#workers = workers;
  }

  /**
   * Notes what the workers have done so far.
   * @param asked addresses, or `listed` @throws E_NETWORK and others of `SieClient` for an address that the user gave
   */
  static async start(
    model: string,
    asked: readonly string[],
    gateway: { url: string; health: SieHealth | undefined },
    context: Context,
  ): Promise<WorkerWatch> {
    const workers = await watchedOf(asked, gateway, context);
    const strangers = gateway.health === undefined ? [] : workers.filter(({ name }) => name === undefined);
    for (const stranger of strangers) stranger.profile = await stranger.client.ownProfile(model);
    const watch = new WorkerWatch(model, workers);
    await watch.#lookAll();
    return watch;
  }

  /** What they did since. @throws as `start` */
  async accounts(): Promise<Account[]> {
    const before = this.#workers.map(({ work }) => work);
    await this.#lookAll();
    return this.#workers.map(({ url, name, profile, work, processes, unseen }, index) => {
      const was = before[index];
      // Counters that went back are those of a process that started anew.
      const moved = was === undefined || work === undefined ? undefined : work < was ? work : work - was;
      return { url, name, profile, moved, processes, unseen };
    });
  }

  async #lookAll(): Promise<void> {
    const workers = this.#workers.filter(({ unseen }) => unseen === undefined);
    await Promise.all(workers.map((worker) => this.#look(worker)));
  }

  async #look(worker: Watched): Promise<void> {
    try {
      const [metrics, model] = [await worker.client.metrics(), await worker.client.model(this.#model)];
      worker.work = metrics === undefined ? undefined : workOf(this.#model, metrics);
      worker.processes = model?.processes ?? [];
      if (worker.work === undefined && worker.processes.length === 0)
        worker.unseen = 'it shows no counters: `/metrics` has none, or is not there';
    } catch (error) {
      if (worker.isGiven) throw error;
      worker.unseen = toMirrorError(error).message;
    }
  }
}

/** What workers say of a model that is "loading" through their gateway: only they know that it has failed. */
export async function failedOn(
  model: string,
  asked: readonly string[],
  gateway: { url: string; health: SieHealth | undefined },
  context: Context,
): Promise<SieModel | undefined> {
  const workers = (await watchedOf(asked, gateway, context)).filter(({ unseen }) => unseen === undefined);
  const models = await Promise.all(workers.map(({ client }) => client.model(model).catch(() => undefined)));
  return models.find((found) => found?.state === 'failed');
}

async function watchedOf(
  asked: readonly string[],
  { url: gateway, health }: { url: string; health: SieHealth | undefined },
  context: Context,
): Promise<Watched[]> {
  // A worker of its own has no gateway before it.
  if (!health && asked.length === 0) return [watched(gateway, readTokens(context.env))];
  const listed = askable(health?.workers ?? []);
  const given = asked.filter((url) => url !== listedWorkers);
  const found = asked.includes(listedWorkers)
    ? listed.filter(({ url }) => !given.some((other) => isSame(url, other)))
    : [];
  const named = given.map((url) => {
    const name = listed.find((worker) => isSame(worker.url, url))?.name;
    return { ...watched(url), name, isGiven: true };
  });
  const reached = await Promise.all(
    found.map(async ({ url, name }) => {
      const unseen = await context.http.checkReach(new URL(gateway), new URL(url), {}).then(
        () => undefined,
        (error: unknown) => toMirrorError(error).message,
      );
      return { ...watched(url), name, unseen };
    }),
  );
  return [...named, ...reached];

  function watched(url: string, tokens = hiddenTokens(context.env)): Watched {
    const client = new SieClient(context.http, url, tokens);
    client.boundAnswers(answerMs);
    const unknown = { name: undefined, profile: undefined, work: undefined, unseen: undefined };
    return { ...unknown, url, isGiven: false, client, processes: [] };
  }
}

function isSame(one: string, other: string): boolean {
  return new URL(one).origin === new URL(other).origin;
}
