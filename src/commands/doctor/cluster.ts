import { toMirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import * as z from '../../core/zod.ts';
import { chartFindings, readReleases, releaseListSchema } from '../../doctor/chart.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from '../../doctor/finding.ts';
import { explainLog } from '../../doctor/known-messages.ts';
import {
  eventListSchema,
  hostOf,
  isGateway,
  isWorker,
  podListSchema,
  portOf,
  publicRegistry,
  readEvents,
  readPods,
  type SeenContainer,
  type SeenEvent,
  type SeenPod,
} from '../../doctor/pod.ts';
import { evictedFinding, isOver, unreadyFinding } from '../../doctor/pod-state.ts';
import { failsToPull, type ImagePlaces, publicFix, pullFinding } from '../../doctor/pull.ts';
import { type Names, steps } from '../../doctor/names.ts';
import { settingsFindings } from '../../doctor/worker-settings.ts';
import { KubeClient } from '../../kube/client.ts';
import type { KubeAccess } from '../../kube/config.ts';
import { parseModels } from '../../sie/models.ts';
import type { Context } from '../context.ts';
import { type AccessOptions, apiFault, isShut, readAccess, unusable } from './kube-access.ts';
import { mirroredHosts } from './mirrors.ts';
import { stopped } from './not-lost.ts';
import { tryPullSecrets } from './pull-credentials.ts';
import { type CheckedSecret, readPullSecrets } from './secrets.ts';
import { askWorkers, failureFinding, workerAnswerMs, workerFindings } from './worker.ts';

export interface ClusterOptions extends AccessOptions {
  /** Default: that of the context. */
  namespace?: string | undefined;
  /** Directory with hosts.toml, as a pod sees that of its node. */
  hostsDir?: string | undefined;
  models?: string | undefined;
}

/** What other layers know. */
export interface ClusterKnowledge {
  imported: ReadonlySet<string> | undefined;
  images: string | undefined;
  targets: readonly string[];
}

/** What was seen of the cluster, and how things are called there. */
export interface ClusterSight {
  findings: Finding[];
  names: Names;
}

/** Looks at the pods of a namespace, read-only. @throws E_USAGE */
export async function checkCluster(
  options: ClusterOptions,
  known: ClusterKnowledge,
  context: Context,
): Promise<ClusterSight> {
  context.report({ type: 'stage', text: 'looking at the cluster' });
  const { kubeconfig } = options;
  let access: KubeAccess;
  try {
    access = await readAccess(options, context);
  } catch (error) {
    const known = toMirrorError(error);
    if (kubeconfig === undefined || options.inCluster || options.kubeContext !== undefined) throw known;
    return { findings: [unusable(known, kubeconfig)], names: {} };
  }
  const client = new KubeClient(context.http, access);
  const namespace = options.namespace ?? access.namespace;
  const look = new ClusterLook(client, namespace, options, known, context);
  try {
    const findings = await look.run();
    return { findings, names: { namespace, ...look.names } };
  } catch (error) {
    const known = toMirrorError(error);
    const finding =
      known.code === 'E_USAGE' && kubeconfig !== undefined
        ? unusable(known, kubeconfig)
        : await apiFault(known, access.server, namespace);
    return { findings: [finding], names: { namespace } };
  }
}

class ClusterLook {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #options: ClusterOptions;
  readonly #known: ClusterKnowledge;
  readonly #context: Context;
  names: Names = {};

  constructor(
    client: KubeClient,
    namespace: string,
    options: ClusterOptions,
    known: ClusterKnowledge,
    context: Context,
  ) {
    this.#client = client;
    this.#namespace = namespace;
    this.#options = options;
    this.#known = known;
    this.#context = context;
  }

  async run(): Promise<Finding[]> {
    const below = `/api/v1/namespaces/${encodeURIComponent(this.#namespace)}`;
    const pods = readPods(await this.#client.list(`${below}/pods`, podListSchema));
    const unseen: Finding[] = [];
    const events = readEvents(
      await this.#orNot(unseen, 'events', { items: [] }, () => this.#client.list(`${below}/events`, eventListSchema)),
    );
    const releases = readReleases(
      await this.#orNot(unseen, 'Helm releases', { items: [] }, () =>
        this.#client.listMetadata(`${below}/secrets?labelSelector=owner%3Dhelm`, releaseListSchema),
      ),
    );
    this.names = {
      models: pods.flatMap(({ containers }) => containers.flatMap(({ env }) => env.get('SIE_CLUSTER_CACHE') || []))[0],
      workers: pods.filter(({ containers }) => containers.some(isWorker)).map(({ name }) => name),
      chart: pods.map(({ labels }) => labels['helm.sh/chart'] ?? '').find((chart) => chart.startsWith('sie-cluster-')),
      release: releases.length === 1 ? releases[0]?.name : undefined,
    };
    const secrets = await readPullSecrets(this.#client, this.#namespace, pods);
    unseen.push(...secrets.findings);
    if (pods.length === 0)
      unseen.push(
        notSeen('cluster', `namespace ${this.#namespace}`, 'it has no pods', 'give the right one with `--namespace`'),
      );
    return [
      ...(pods.length > 0 ? [ok('cluster', `namespace ${this.#namespace}`, plural(pods.length, 'pod'))] : []),
      ...chartFindings(releases, pods),
      ...(await this.#images(pods, events, secrets.known)),
      ...(await tryPullSecrets(pods, secrets.known, this.#registries(), this.#context)),
      ...pods.flatMap((pod) => this.#settings(pod, pods)),
      ...(await this.#failures(pods, events)),
      ...(await this.#workers(pods)),
      ...unseen,
    ];
  }

  #registries(): ReadonlySet<string> {
    const places = [this.#known.images ?? '', ...this.#known.targets];
    return new Set(places.map(hostOf));
  }

  /** The pods tell much alone. */
  async #orNot<T>(unseen: Finding[], name: string, instead: T, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const known = toMirrorError(error);
      if (isShut(known)) throw known;
      unseen.push(stopped('cluster', name, known));
      return instead;
    }
  }

  async #images(
    pods: readonly SeenPod[],
    events: readonly SeenEvent[],
    secrets: ReadonlyMap<string, CheckedSecret | undefined>,
  ): Promise<Finding[]> {
    const places: ImagePlaces = { images: this.#known.images, targets: this.#known.targets };
    const hosts = new Map([...secrets].map(([name, secret]) => [name, secret?.hosts] as const));
    const failing = pods.flatMap((pod) =>
      pod.containers.filter(failsToPull).map((container) => pullFinding(pod, container, events, hosts, places)),
    );
    const running = pods.flatMap(({ name, containers }) =>
      containers.filter((each) => !failsToPull(each)).map(({ image }) => ({ name, image })),
    );
    const open = new Map<string, { pod: string; host: string }>();
    for (const { name, image } of running) {
      const host = publicRegistry(image);
      if (host !== undefined) open.set(image, { pod: name, host });
    }
    const mirrored = await mirroredHosts(
      [...open.values()].map(({ host }) => host),
      this.#options.hostsDir,
      this.#context,
    );
    const named = [...open].map(([image, { pod, host }]) =>
      mirrored.has(host)
        ? ok('cluster', `pod ${pod}`, `\`${image}\` comes by way of the mirror that hosts.toml has for \`${host}\``)
        : warningAt(
            'cluster',
            `pod ${pod}`,
            'image-public',
            `\`${image}\`: a node that does not hold it yet asks \`${host}\``,
            publicFix(image, host),
          ),
    );
    return [...failing, ...named];
  }

  #settings(pod: SeenPod, all: readonly SeenPod[]): Finding[] {
    const workers = all.flatMap(({ containers }) => containers.filter(isWorker));
    const pools = [...new Set(workers.flatMap(({ env }) => env.get('SIE_POOL') || []))];
    const hasGateway = all.some(({ containers }) => containers.some(isGateway));
    return pod.containers
      .filter(isWorker)
      .flatMap((container) => settingsFindings(pod, container, { models: this.#options.models, pools, hasGateway }));
  }

  /** Containers that ended badly, by the last words in their logs, and pods that are not ready for another reason. */
  async #failures(pods: readonly SeenPod[], events: readonly SeenEvent[]): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const pod of pods.filter((each) => !isOver(each))) {
      const evicted = evictedFinding(pod, pods);
      const told = evicted ? [evicted] : await this.#ended(pod);
      const isKnown = told.length > 0 || pod.containers.some(failsToPull);
      findings.push(...(isKnown ? told : unreadyFinding(pod, events)));
    }
    return findings;
  }

  async #ended(pod: SeenPod): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const container of pod.containers)
      if (isFailing(container) || (isWorker(container) && !container.ready && !failsToPull(container)))
        findings.push(...(await this.#failure(pod, container)));
    return findings;
  }

  async #failure(pod: SeenPod, container: SeenContainer): Promise<Finding[]> {
    const where = `container \`${container.name}\`${container.init ? ' (Init)' : ''}`;
    const state =
      container.waiting?.reason ?? (container.exitCode === undefined ? pod.phase : `exit code ${container.exitCode}`);
    let log = '';
    try {
      log = await this.#client.log(
        this.#namespace,
        pod.name,
        container.name,
        container.restarts > 0 && container.waiting !== undefined,
      );
    } catch (error) {
      const known = toMirrorError(error);
      if (known.at.status === undefined) throw known;
    }
    const told = explainLog(log);
    if (told)
      return [
        failureFinding({
          layer: 'cluster',
          model: told.repo ?? `pod ${pod.name}`,
          worker: pod.name,
          fault: told.fault,
          words: `${where}: ${told.said}`,
          fix: told.fix
            .replaceAll(/\bSERVICE_ACCOUNT\b/g, pod.serviceAccount)
            .replaceAll(/\bWORKLOAD\b/g, pod.owner ?? 'WORKLOAD')
            .replaceAll(/\bCONTAINER\b/g, container.name),
          repo: told.repo ?? '',
          imported: this.#known.imported,
        }),
      ];
    if (!isFailing(container)) return [];
    const fix = `the whole of it: kubectl -n ${this.#namespace} logs ${pod.name} -c ${container.name}${container.restarts > 0 ? ' --previous' : ''}`;
    return [faultAt('cluster', `pod ${pod.name}`, 'pod-failing', `${where}: ${state}`, fix)];
  }

  /** A worker's own word about its models, by way of the API server. */
  async #workers(pods: readonly SeenPod[]): Promise<Finding[]> {
    const ready = pods.flatMap(({ name, containers }) => {
      const worker = containers.find((each) => isWorker(each) && each.ready);
      return worker ? [{ name, port: portOf(worker) }] : [];
    });
    const ask = async ({ name, port }: (typeof ready)[number]): Promise<Finding[]> => {
      try {
        const place = { namespace: this.#namespace, pod: name, port, path: '/v1/models' };
        const said = await this.#client.throughPod(place, z.unknown(), workerAnswerMs);
        return workerFindings('cluster', name, parseModels(said), this.#known.imported);
      } catch (error) {
        const known = toMirrorError(error);
        const fix = steps(
          `in another terminal: kubectl -n ${this.#namespace} port-forward pod/${name} ${port}`,
          `and then: sie-mirror doctor --worker http://127.0.0.1:${port}`,
        );
        return [notSeen('cluster', `worker ${name}`, `the state of its models: ${known.message}`, fix)];
      }
    };
    return askWorkers(ready, ask, this.#context);
  }
}

function isFailing(container: SeenContainer): boolean {
  return container.waiting?.reason === 'CrashLoopBackOff' || (!container.ready && (container.exitCode ?? 0) !== 0);
}
