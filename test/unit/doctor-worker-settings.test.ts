import { expect, it } from 'vitest';
import { withNames } from '../../src/doctor/names.ts';
import { podListSchema, readPods } from '../../src/doctor/pod.ts';
import { settingsFindings } from '../../src/doctor/worker-settings.ts';
import { offlineEnv, pod } from '../support/kube.ts';

/** What is said of a worker that reads `cache`, where the models are at `models`. */
function verdictsOf(cache: string, models: string): unknown[] {
  const [seen] = readPods(podListSchema.parse({ items: [pod({ env: { ...offlineEnv, SIE_CLUSTER_CACHE: cache } })] }));
  return (
    seen?.containers.flatMap((container) => settingsFindings(seen, container, { models })).map(({ fault }) => fault) ??
    []
  );
}

it.each([
  ['s3://models/sie/models', 's3://models/sie/models/'],
  ['/mnt/models', 'file:///mnt/models'],
  ['/mnt/models/', 'file:///mnt/models'],
])('finds a worker that reads %s at the models that are at %s', (cache, models) => {
  expect(verdictsOf(cache, models)).toEqual([undefined]);
});

it.each([
  ['/mnt/other', 'file:///mnt/models'],
  ['file:///mnt/models', 'file:///mnt/models'],
])('tells of a worker that reads %s where the models are at %s', (cache, models) => {
  expect(verdictsOf(cache, models)).toEqual(['cluster-cache-elsewhere']);
});

it('has a worker told a directory by its path alone', () => {
  const fix = withNames('set env SIE_CLUSTER_CACHE=CACHE_URL', { models: 'file:///mnt/models' });
  expect(fix).toBe('set env SIE_CLUSTER_CACHE=/mnt/models');
});
