import { expect, it } from 'vitest';
import { podListSchema, portOf, readPods } from '../../src/doctor/pod.ts';
import { pod } from '../support/kube.ts';

it.each([
  [['serve', '--port=9000'], 9000],
  [['serve', '--port', '9000', '--bundle', 'default'], 9000],
  [['serve', '--port'], 8080],
  [['serve', '--port', '$(PORT)'], 8080],
  [['serve'], 8080],
])('asks a worker that was started by %j at port %i', (args, port) => {
  const [seen] = readPods(podListSchema.parse({ items: [pod({ args })] }));
  expect(seen?.containers.map(portOf)).toEqual([port]);
});
