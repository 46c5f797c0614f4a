import { expect, it } from 'vitest';
import type { Finding } from '../../src/doctor/finding.ts';
import { evictedFinding, isOver, unreadyFinding } from '../../src/doctor/pod-state.ts';
import { readEvents, readPods, eventListSchema, podListSchema } from '../../src/doctor/pod.ts';
import { pod, podEvent, type PodSwitches } from '../support/kube.ts';

const [waits, placed] = [{ phase: 'Pending', containerStatuses: [] }, { phase: 'Pending' }];

function unready(switches: PodSwitches, events: object[] = []): Finding | undefined {
  const [seen] = readPods(podListSchema.parse({ items: [pod(switches)] }));
  if (!seen) throw new Error('no pod');
  return unreadyFinding(seen, readEvents(eventListSchema.parse({ items: events })))[0];
}

const said = (reason: string, message: string, lastTimestamp?: string): object => ({
  ...podEvent('sie-worker-0', message, reason),
  lastTimestamp,
});

it.each([
  [
    'a GPU',
    '0/2 nodes are available: 2 Insufficient nvidia.com/gpu.',
    /allocatable\.nvidia\\\.com\/gpu.*\n.*device plugin/,
  ],
  ['memory', '0/2 nodes are available: 2 Insufficient memory.', /allocatable\.memory.*\n.*`resources`/],
  ['a toleration', '0/2 nodes are available: 2 node(s) had untolerated taint {a: b}.', /TAINTS/],
  [
    'a label',
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    /nodeSelector.*\n.*--show-labels/,
  ],
  [
    'a volume',
    '0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.',
    /get persistentvolumeclaims/,
  ],
])('says of a pod that no node takes for want of %s where to look', (_, message, fix) => {
  const finding = unready({ status: waits }, [said('FailedScheduling', message)]);
  expect(finding).toMatchObject({ fault: 'pod-unschedulable', evidence: message });
  expect(finding?.fix).toMatch(fix);
});

it('takes the word of the scheduler from the pod where events are gone', () => {
  const conditions = [
    { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '2 Insufficient cpu.' },
  ];
  expect(unready({ status: { ...waits, conditions } })).toMatchObject({ evidence: '2 Insufficient cpu.' });
});

it('forgets what the scheduler said before a node took the pod', () => {
  const events = [said('FailedScheduling', '2 Insufficient cpu.')];
  expect(unready({ waiting: { reason: 'ContainerCreating' }, status: placed }, events)?.fault).toBe('pod-unready');
});

it.each([
  ['MountVolume.SetUp failed for volume "ca" : configmap "zone-ca" not found', /configmap `zone-ca`.*get configmaps/],
  ['MountVolume.SetUp failed for volume "s" : secret "a-b" not found', /secret `a-b`.*get secrets/],
  [
    'Unable to attach or mount volumes: timed out waiting for the condition',
    /^the whole of it: kubectl -n NAMESPACE describe/,
  ],
])('names the object that a volume wants: %s', (message, fix) => {
  const finding = unready({ waiting: { reason: 'ContainerCreating' } }, [said('FailedMount', message)]);
  expect(finding).toMatchObject({ fault: 'pod-volume', evidence: message });
  expect(finding?.fix).toMatch(fix);
});

it('takes the newest event, whatever order the API has them in', () => {
  const events = [
    said('FailedMount', 'new', '2026-01-02T00:00:00Z'),
    said('FailedMount', 'old', '2026-01-01T00:00:00Z'),
  ];
  expect(unready({ waiting: { reason: 'ContainerCreating' } }, events)?.evidence).toBe('new');
});

it('names the key that a secret lacks', () => {
  const message = `couldn't find key AWS_SECRET_ACCESS_KEY in Secret sie/model-bucket`;
  const finding = unready({ waiting: { reason: 'CreateContainerConfigError', message } });
  expect(finding?.fault).toBe('pod-container');
  expect(finding?.fix).toMatch(/secret `model-bucket` with the key `AWS_SECRET_ACCESS_KEY`/);
});

it('shows no line break and no control that a message holds, and takes no command from it', () => {
  const finding = unready({
    waiting: { reason: 'CreateContainerError', message: 'a\nfix: rm \u001b secret "$(x)" not found' },
  });
  expect(finding?.evidence).toBe(
    String.raw`container \`worker\`: CreateContainerError: a\u000afix: rm \u001b secret "$(x)" not found`.replaceAll(
      '\\`',
      '`',
    ),
  );
  expect(finding?.fix).not.toContain('$(x)');
});

it('takes an evicted pod for history when another of its kind is ready', () => {
  const status = { phase: 'Failed', reason: 'Evicted', message: 'low on memory' };
  const read = (items: object[]) => readPods(podListSchema.parse({ items }));
  const both = read([pod({ status }), pod({ name: 'sie-worker-1' })]);
  const alone = both.slice(0, 1);
  expect([both, alone].map((pods) => pods[0] && evictedFinding(pods[0], pods)?.verdict)).toEqual(['warning', 'fault']);
});

it('waits for no pod that has done its work', () => {
  const [done] = readPods(podListSchema.parse({ items: [pod({ exitCode: 0, status: { phase: 'Succeeded' } })] }));
  expect(done && isOver(done)).toBe(true);
});
