import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseCommandLine } from '../../../src/cli/program.ts';
import { projectRoot } from '../../support/cli.ts';

interface Container {
  command: string[];
  args: string[];
  volumeMounts: { name: string; mountPath: string }[];
}
interface PodSpec {
  restartPolicy: string;
  containers: [Container];
  volumes: { name: string }[];
}

const read = (name: string): unknown => parse(readFileSync(join(projectRoot, 'manifests/kubernetes', name), 'utf8'));
const job = read('smoke-job.yaml') as { kind: string; spec: { backoffLimit: number; template: { spec: PodSpec } } };
const test = read('smoke-helm-test.yaml') as { kind: string; metadata: { annotations: object }; spec: PodSpec };

it.each([
  ['smoke-job.yaml', job.spec.template.spec],
  ['smoke-helm-test.yaml', test.spec],
])(
  '%s runs a command line that there is, with what it mounts',
  (_, { containers: [container], restartPolicy, volumes }) => {
    expect(restartPolicy).toBe('Never');
    expect(
      parseCommandLine(
        container.args,
        () => {},
        () => {},
      )?.command,
    ).toBe('smoke');
    const [mount] = container.volumeMounts;
    expect(volumes.map(({ name }) => name)).toContain(mount?.name);
    for (const path of [...container.command, ...container.args].filter((word) => word.startsWith('/')))
      expect(path.startsWith(`${mount?.mountPath}/`)).toBe(true);
  },
);

it('are a Job that is not repeated, and a hook of helm test', () => {
  expect([job.kind, job.spec.backoffLimit]).toEqual(['Job', 0]);
  expect(test.metadata.annotations).toMatchObject({ 'helm.sh/hook': 'test' });
});
