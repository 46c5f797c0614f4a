import { printable } from '../core/text.ts';
import type { FaultId } from './faults.ts';
import { faultAt, type Finding, warningAt } from './finding.ts';
import { steps } from './names.ts';
import { isWorker, type SeenEvent, type SeenPod } from './pod.ts';
import { quoted } from './shell.ts';

const makingReasons = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'PreCreateHookError',
  'PostStartHookError',
]);

/** Whether a pod has done its work, or is on its way out: nobody waits for it to be ready. */
export function isOver({ phase, isLeaving }: SeenPod): boolean {
  return phase === 'Succeeded' || isLeaving;
}

/**
 * A pod that its node has thrown out. What it belongs to makes another one, so that it is history when that is ready.
 * https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
 */
export function evictedFinding(pod: SeenPod, all: readonly SeenPod[]): Finding | undefined {
  if (pod.phase !== 'Failed' || pod.reason !== 'Evicted') return undefined;
  const isReplaced = pod.owner !== undefined && all.some((each) => each.owner === pod.owner && isReady(each));
  const at = isReplaced ? warningAt : faultAt;
  return at(
    'cluster',
    `pod ${pod.name}`,
    'pod-evicted',
    shown(`${pod.message || 'the node had too little of something'}${isReplaced ? '; another one is ready' : ''}`),
    steps(
      'what the nodes are short of: kubectl get nodes -o custom-columns=\'NODE:.metadata.name,SHORT:.status.conditions[?(@.status=="True")].type\'',
      'models lie on the disk of the node while a pod lives: give nodes larger disks, or fewer models to a pool, and have pods ask for what they need in the values of the chart',
      `what is left of it: kubectl -n NAMESPACE delete pod ${quoted(pod.name)}`,
    ),
  );
}

/** Why a pod is not ready, of which neither an image nor a log has told more: one finding, or none for a pod that is. */
export function unreadyFinding(pod: SeenPod, events: readonly SeenEvent[]): Finding[] {
  if (isReady(pod)) return [];
  const own = events.filter((event) => event.pod === pod.name);
  const last = (reasons: RegExp): string => own.findLast(({ reason }) => reasons.test(reason))?.message ?? '';
  const at = (fault: FaultId, evidence: string, fix: string): Finding[] => [
    faultAt('cluster', `pod ${pod.name}`, fault, shown(evidence), fix),
  ];
  const unplaced = pod.unschedulable ?? (pod.isPlaced ? '' : last(/^FailedScheduling$/));
  if (unplaced !== '') return at('pod-unschedulable', unplaced, placeSteps(pod, unplaced));
  const unmade = pod.containers.find(({ waiting }) => makingReasons.has(waiting?.reason ?? ''));
  if (unmade?.waiting) {
    const { reason, message } = unmade.waiting;
    const said = message || last(/^Failed$/);
    return at('pod-container', `container \`${unmade.name}\`: ${reason}${said && `: ${said}`}`, mendSteps(pod, said));
  }
  const unmounted = pod.containers.some(({ ready }) => ready) ? '' : last(/^Failed(?:Mount|AttachVolume|MapVolume)$/);
  if (unmounted !== '') return at('pod-volume', unmounted, mendSteps(pod, unmounted));
  return at('pod-unready', stateOf(pod, own), steps(...logSteps(pod), describe(pod)));
}

function isReady({ phase, containers }: SeenPod): boolean {
  return phase === 'Running' && containers.every(({ init, ready }) => init || ready);
}

/** The state of the first container that is not ready, and the last that was said of the pod. */
function stateOf({ phase, reason, message, containers }: SeenPod, own: readonly SeenEvent[]): string {
  const first = containers.find(({ init, ready, waiting }) => !ready && (!init || waiting !== undefined));
  const waiting = first?.waiting?.reason ?? '';
  const said = message || first?.waiting?.message || own.findLast(({ isWarning }) => isWarning)?.message;
  return [
    [phase, reason, waiting].filter((each) => each !== '').join(', '),
    first && `container \`${first.name}\` is not ready`,
    said,
  ]
    .filter((each) => each)
    .join(': ');
}

/** https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/ */
function placeSteps(pod: SeenPod, said: string): string {
  const short = [...new Set([...said.matchAll(/Insufficient ([\w./-]*\w)/g)].map(([, resource = '']) => resource))];
  const column = (resource: string): string => `.status.allocatable.${resource.replaceAll('.', '\\.')}`;
  return steps(
    ...short.flatMap((resource) => [
      `what each node has of \`${resource}\`: kubectl get nodes -o custom-columns='NODE:.metadata.name,HAS:${column(resource)}'`,
      /gpu/.test(resource)
        ? `where that is none, the device plugin for GPUs does not run there: its DaemonSet and image have to be in the zone too; where all are taken, add a node, or take replicas from another pool: in the values of the chart, under \`workers.pools\``
        : `add a node, or have the pod ask for less: in the values of the chart, under \`resources\``,
    ]),
    /taint/.test(said)
      ? "which taints it would have to tolerate, by `tolerations` in the values of the chart: kubectl get nodes -o custom-columns='NODE:.metadata.name,TAINTS:.spec.taints[*].key'"
      : undefined,
    /affinity|selector/.test(said)
      ? `which labels it wants: kubectl -n NAMESPACE get pod ${quoted(pod.name)} -o jsonpath='{.spec.nodeSelector} {.spec.affinity}'`
      : undefined,
    /affinity|selector/.test(said) ? 'which labels there are: kubectl get nodes --show-labels' : undefined,
    ...objectSteps(said),
    describe(pod),
  );
}

const kinds = { secret: 'secrets', configmap: 'configmaps', persistentvolumeclaim: 'persistentvolumeclaims' } as const;

/** What is to be done about the object that a message names. */
function objectSteps(said: string): string[] {
  const [, kind = '', name] =
    /\b(secret|configmap|persistentvolumeclaim)s? "([\w.-]+)"/i.exec(said) ??
    /\b(secret|configmap) \S*?\/([\w.-]+)/i.exec(said) ??
    /\b(persistentvolumeclaim)s?\b()/i.exec(said) ??
    [];
  const plural = kinds[kind.toLowerCase() as keyof typeof kinds] as string | undefined;
  if (plural === undefined) return [];
  const key = /key "?([\w.-]+)"? in/.exec(said)?.[1];
  const what = `${kind.toLowerCase()}${name ? ` \`${name}\`` : ''}`;
  return [
    plural === kinds.persistentvolumeclaim
      ? `the ${what} has to be there and \`Bound\`, by a volume or a storage class of this cluster: kubectl -n NAMESPACE get persistentvolumeclaims`
      : `make the ${what}${key === undefined ? '' : ` with the key \`${key}\``}, or name another one in the values of the chart; those that there are: kubectl -n NAMESPACE get ${plural}`,
  ];
}

function mendSteps(pod: SeenPod, said: string): string {
  const again = `then, so that it is tried at once: kubectl -n NAMESPACE delete pod ${quoted(pod.name)}`;
  const known = objectSteps(said);
  return steps(...(known.length > 0 ? [...known, again] : [describe(pod), again]));
}

/** A container that never began has no log. */
function logSteps({ name, containers }: SeenPod): string[] {
  const first = containers.find(({ init, ready, waiting }) => !init && !ready && waiting === undefined);
  if (!first) return [];
  return [
    `what it does instead of being ready: kubectl -n NAMESPACE logs ${quoted(name)} -c ${quoted(first.name)}`,
    isWorker(first) ? 'a worker that has just begun needs its time: run doctor again' : '',
  ];
}

function describe({ name }: SeenPod): string {
  return `the whole of it: kubectl -n NAMESPACE describe pod ${quoted(name)}`;
}

function shown(words: string): string {
  return printable(words).slice(0, 400);
}
