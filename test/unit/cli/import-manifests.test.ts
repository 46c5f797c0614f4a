import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseShard } from '../../../src/commands/import/shard.ts';
import { parseCommandLine } from '../../../src/cli/program.ts';
import { projectRoot } from '../../support/cli.ts';

interface Container {
  command: string[];
  args: string[];
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}
interface Job {
  kind: string;
  spec: {
    completionMode?: string;
    completions?: number;
    parallelism?: number;
    template: { spec: { restartPolicy: string; containers: [Container]; volumes: { name: string }[] } };
  };
}

const read = (name: string): Job => parse(readFileSync(join(projectRoot, 'manifests/kubernetes', name), 'utf8')) as Job;
const job = read('import-job.yaml');
const finish = read('import-finish-job.yaml');
const parsed = ({ spec }: Job): { command: string | undefined; flags: Record<string, unknown> } => {
  const line = parseCommandLine(
    spec.template.spec.containers[0].args,
    () => {},
    () => {},
  );
  return { command: line?.command, flags: { ...line?.flags } };
};

it.each([
  ['import-job.yaml', job],
  ['import-finish-job.yaml', finish],
])('%s runs a command line that there is, with what it mounts, and writes nothing beside the bundle', (_, each) => {
  const { containers, volumes, restartPolicy } = each.spec.template.spec;
  const [{ args, command, volumeMounts }] = containers;
  expect([parsed(each).command, restartPolicy]).toEqual(['import', 'Never']);
  expect(volumeMounts.map(({ name }) => name)).toEqual(volumes.map(({ name }) => name));
  const paths = [...command, ...args].flatMap((word) => /^(?:--[a-z]+=)?(\/[^/].*)$/.exec(word)?.[1] ?? []);
  expect(paths).toHaveLength(4);
  for (const path of paths)
    expect(volumeMounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`))).toBe(true);
  expect(volumeMounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name)).toEqual(['receipt']);
});

it('every pod of the Job has a share of its own, and all shares are there', () => {
  const { completionMode, completions = 0, parallelism } = job.spec;
  expect([completionMode, parallelism]).toEqual(['Indexed', completions]);
  const shard = String(parsed(job).flags['shard']);
  const shares = Array.from({ length: completions }, (_, index) =>
    parseShard(shard, { JOB_COMPLETION_INDEX: String(index) }),
  );
  expect(shares).toEqual(shares.map((_, index) => ({ index, of: completions })));
});

it('the end has the targets of the shards, and no share', () => {
  const targetsOf = (each: Job): unknown => [parsed(each).flags['models'], parsed(each).flags['key']];
  expect(targetsOf(finish)).toEqual(targetsOf(job));
  expect([parsed(finish).flags['finish'], parsed(finish).flags['shard']]).toEqual([true, undefined]);
});
