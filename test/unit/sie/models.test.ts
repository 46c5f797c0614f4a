import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseModels } from '../../../src/sie/models.ts';
import { projectRoot } from '../../support/cli.ts';

const pages = JSON.parse(readFileSync(join(projectRoot, 'fixtures/worker-models.json'), 'utf8')) as Record<
  string,
  unknown
>;

it.each([
  ['0.3.4', [], undefined],
  ['0.10.1', ['b'.repeat(64)], 'a'.repeat(40)],
])('reads what a worker of %s says of its models', (release, processes, revision) => {
  const [loaded, failed] = parseModels(pages[release]) ?? [];
  expect(loaded).toMatchObject({ id: 'BAAI/bge-m3', outputs: ['dense'], loaded: true, processes, revision });
  expect(loaded?.lastError).toBeUndefined();
  expect(failed).toMatchObject({
    id: 'org/failed',
    state: 'failed',
    lastError: { errorClass: 'OOM', message: 'CUDA out of memory' },
  });
});

it('reads the lists of gateways, of 0.3 and as OpenAI has them too', () => {
  const old = { name: 'org/a', bundles: ['default'], worker_count: 0, workers: [], loaded: false };
  expect(parseModels({ models: [old] })).toMatchObject([{ id: 'org/a', outputs: [], loaded: false, aliases: [] }]);
  const data = [{ id: 'org/a', object: 'model' }];
  const models = [{ name: 'org/a', outputs: ['score'], aliases: ['org/b'], last_error: null }];
  expect(parseModels({ object: 'list', data, models })).toMatchObject([{ outputs: ['score'], aliases: ['org/b'] }]);
});

it('reads nothing out of what is no list', () => {
  expect(parseModels('<html>')).toBeUndefined();
  expect(parseModels({ items: [] })).toBeUndefined();
});
