import * as z from '../core/zod.ts';

/** What the Kubernetes API says of a container that helps to find a fault. */
export interface SeenContainer {
  name: string;
  image: string;
  init: boolean;
  /** By name; undefined where the value stands in a secret, a config map or a field. */
  env: ReadonlyMap<string, string | undefined>;
  /** Whole config maps and secrets become variables too: then one that is not listed may be set all the same. */
  envFrom: boolean;
  args: string[];
  waiting: { reason: string; message: string } | undefined;
  /** Exit code of the run that ended last. */
  exitCode: number | undefined;
  restarts: number;
  ready: boolean;
}

export interface SeenPod {
  name: string;
  phase: string;
  /** Why the phase is what it is: `Evicted`. */
  reason: string;
  message: string;
  /** What the scheduler says of a pod that no node takes. */
  unschedulable: string | undefined;
  /** A node has taken it. */
  isPlaced: boolean;
  /** It is being deleted. */
  isLeaving: boolean;
  labels: Readonly<Record<string, string>>;
  pullSecrets: string[];
  serviceAccount: string;
  /** What makes such pods, as kubectl takes it: `statefulset/sie-worker`. */
  owner: string | undefined;
  containers: SeenContainer[];
}

export interface SeenEvent {
  /** Of the pod that it tells of. */
  pod: string;
  reason: string;
  message: string;
  isWarning: boolean;
}

const text = z.string().default('');
const containerSchema = z.looseObject({
  name: z.string(),
  image: text,
  command: z.array(z.string()).nullish(),
  args: z.array(z.string()).nullish(),
  env: z
    .array(z.looseObject({ name: z.string(), value: z.string().optional(), valueFrom: z.unknown().optional() }))
    .nullish(),
  envFrom: z.array(z.unknown()).nullish(),
});
const terminatedSchema = z.looseObject({ exitCode: z.number().default(0) }).optional();
const statusSchema = z.looseObject({
  name: z.string(),
  ready: z.boolean().default(false),
  restartCount: z.number().default(0),
  state: z
    .looseObject({ waiting: z.looseObject({ reason: text, message: text }).optional(), terminated: terminatedSchema })
    .optional(),
  lastState: z.looseObject({ terminated: terminatedSchema }).optional(),
});
const podSchema = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    deletionTimestamp: z.string().nullish(),
    labels: z.record(z.string(), z.string()).nullish(),
    ownerReferences: z.array(z.looseObject({ kind: text, name: text })).nullish(),
  }),
  spec: z.looseObject({
    containers: z.array(containerSchema).default([]),
    initContainers: z.array(containerSchema).nullish(),
    imagePullSecrets: z.array(z.looseObject({ name: text })).nullish(),
    serviceAccountName: text,
    nodeName: text,
  }),
  status: z.looseObject({
    phase: text,
    reason: text,
    message: text,
    conditions: z.array(z.looseObject({ type: text, status: text, message: text })).nullish(),
    containerStatuses: z.array(statusSchema).nullish(),
    initContainerStatuses: z.array(statusSchema).nullish(),
  }),
});

/** https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodList */
export const podListSchema = z.looseObject({ items: z.array(podSchema) });

/** https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ */
export const eventListSchema = z.looseObject({
  items: z.array(
    z.looseObject({
      reason: text,
      message: text,
      type: text,
      lastTimestamp: z.string().nullish(),
      eventTime: z.string().nullish(),
      series: z.looseObject({ lastObservedTime: z.string().nullish() }).nullish(),
      involvedObject: z.looseObject({ kind: text, name: text }),
    }),
  ),
});

/** The pods of a namespace, with what doctor has to know of each. */
export function readPods({ items }: z.infer<typeof podListSchema>): SeenPod[] {
  return items.map(({ metadata, spec, status }) => {
    const statuses = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
    const read = (container: z.infer<typeof containerSchema>, init: boolean): SeenContainer =>
      readContainer(
        container,
        init,
        statuses.find(({ name }) => name === container.name),
      );
    return {
      name: metadata.name,
      phase: status.phase,
      reason: status.reason,
      message: status.message,
      unschedulable: (status.conditions ?? []).find((each) => each.type === 'PodScheduled' && each.status === 'False')
        ?.message,
      isPlaced: spec.nodeName !== '' || statuses.length > 0,
      isLeaving: metadata.deletionTimestamp != null,
      labels: metadata.labels ?? {},
      pullSecrets: (spec.imagePullSecrets ?? []).map(({ name }) => name),
      serviceAccount: spec.serviceAccountName === '' ? 'default' : spec.serviceAccountName,
      owner: ownerOf(metadata.ownerReferences?.[0]),
      containers: [
        ...(spec.initContainers ?? []).map((each) => read(each, true)),
        ...spec.containers.map((each) => read(each, false)),
      ],
    };
  });
}

/** The newest last: the API has them in the order of their names. */
export function readEvents({ items }: z.infer<typeof eventListSchema>): SeenEvent[] {
  const time = ({ series, lastTimestamp, eventTime }: (typeof items)[number]): number =>
    Date.parse(series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? '') || 0;
  return [...items]
    .sort((a, b) => time(a) - time(b))
    .filter(({ involvedObject }) => involvedObject.kind === 'Pod')
    .map(({ involvedObject, reason, message, type }) => ({
      pod: involvedObject.name,
      reason,
      message,
      isWarning: type === 'Warning',
    }));
}

/** A replica set is made anew by its deployment, whose name it has with a hash behind it. */
function ownerOf(reference: { kind: string; name: string } | undefined): string | undefined {
  if (!reference) return undefined;
  const { kind, name } = reference;
  return kind === 'ReplicaSet' ? `deployment/${name.replace(/-[^-]+$/, '')}` : `${kind.toLowerCase()}/${name}`;
}

function readContainer(
  container: z.infer<typeof containerSchema>,
  init: boolean,
  status: z.infer<typeof statusSchema> | undefined,
): SeenContainer {
  const ended = status?.state?.terminated ?? status?.lastState?.terminated;
  return {
    name: container.name,
    image: container.image,
    init,
    env: new Map(
      (container.env ?? []).map(({ name, value, valueFrom }) => [name, valueFrom ? undefined : (value ?? '')]),
    ),
    envFrom: (container.envFrom ?? []).length > 0,
    args: [...(container.command ?? []), ...(container.args ?? [])],
    waiting: status?.state?.waiting,
    exitCode: ended?.exitCode,
    restarts: status?.restartCount ?? 0,
    ready: status?.ready ?? false,
  };
}

/** Whether a container is an SIE worker: the image whose catalogue and adapters load models. */
export function isWorker({ image, init }: SeenContainer): boolean {
  return !init && /(?:^|\/)sie-server(?:[:@]|$)/.test(image);
}

/** Whether a container is SIE's gateway, which has the workers take their work from queues of their pools. */
export function isGateway({ image, init }: SeenContainer): boolean {
  return !init && /(?:^|\/)sie-gateway(?:[:@]|$)/.test(image);
}

/** The port that a worker was told to listen on, as `--port=N` or in two words. */
export function portOf({ args }: SeenContainer): number {
  const index = args.findIndex((each) => each === '--port' || each.startsWith('--port='));
  const given = args[index] === '--port' ? args[index + 1] : args[index]?.slice('--port='.length);
  return /^\d+$/.test(given ?? '') ? Number(given) : 8080;
}

/** The first part of an image's name, or of a place in a registry: `HOST[:PORT]`. */
export function hostOf(image: string): string {
  return image.split('/')[0] ?? image;
}

/** Registries of the internet that no zone reaches; undefined for every other one. */
export function publicRegistry(image: string): string | undefined {
  const [first = ''] = image.split('/');
  const host = image.includes('/') && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io';
  return publicHosts.test(host) ? host : undefined;
}

const publicHosts =
  /^(?:(?:index\.|registry-1\.)?docker\.io|ghcr\.io|quay\.io|nvcr\.io|registry\.k8s\.io|k8s\.gcr\.io|gcr\.io|(?:[a-z]+-)?docker\.pkg\.dev|mcr\.microsoft\.com|public\.ecr\.aws|lscr\.io)$/;
