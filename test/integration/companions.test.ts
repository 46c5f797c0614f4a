import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { plan } from '../../src/commands/plan.ts';
import { codeOf } from '../support/failures.ts';
import { failureIn, type HubPlace, readLockOf, requestsOf, startHubPlace } from '../support/hub-store.ts';

let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
});

afterEach(async () => {
  await place.close();
});

const json = (value: unknown): string => JSON.stringify(value);

/** Repos that the lock has, with what named them. */
async function locked(): Promise<Record<string, string[]>> {
  const { models } = await readLockOf(place);
  return Object.fromEntries(
    models.map(({ repo, namedBy = [] }) => [repo, namedBy.map((by) => `${by.repo}/${by.file}: ${by.key}`)]),
  );
}

it('companions are fetched, those of companions too, each with the file and key that named it', async () => {
  place.hub.addRepo({
    id: 'org/adapter',
    files: { 'adapter_config.json': json({ base_model_name_or_path: 'org/base', revision: 'v2' }), 'a.bin': 'lora' },
  });
  place.hub.addRepo({
    id: 'org/base',
    tags: ['v2'],
    files: { 'config.json': json({ auto_map: { AutoModel: 'org/code--modeling.Model' } }), 'model.safetensors': 'w' },
  });
  place.hub.addRepo({ id: 'org/code', files: { 'modeling.py': '# code', 'model.safetensors': 'not wanted' } });

  const report = await place.snapshot('org/adapter', { companions: true });

  expect(report.ok).toBe(true);
  expect(await locked()).toEqual({
    'org/adapter': [],
    'org/base': ['org/adapter/adapter_config.json: base_model_name_or_path'],
    'org/code': ['org/base/config.json: auto_map.AutoModel'],
  });
  const { models } = await readLockOf(place);
  expect(models.find(({ repo }) => repo === 'org/base')?.revision).toBe('v2');
  // Of remote code the loader reads Python only.
  expect(models.find(({ repo }) => repo === 'org/code')?.files.map(({ path }) => path)).toEqual(['modeling.py']);
  // What was read to find them is not fetched twice.
  const gets = requestsOf(place).filter((each) => each.includes('/resolve/'));
  expect(gets.filter((each) => each.endsWith('_config.json'))).toHaveLength(1);

  // The second run reads them from the store.
  const before = place.hub.server.requests.length;
  expect((await place.snapshot('org/adapter', { companions: true })).ok).toBe(true);
  expect(place.hub.server.requests.length - before).toBe(6);
});

it('companions are left alone unless they are wanted', async () => {
  place.hub.addRepo({
    id: 'org/adapter',
    files: { 'adapter_config.json': json({ base_model_name_or_path: 'org/no' }) },
  });
  expect((await place.snapshot('org/adapter')).ok).toBe(true);
});

it('companions that name each other come to an end', async () => {
  place.hub.addRepo({
    id: 'org/a',
    files: { 'gliner_config.json': json({ model_name: 'org/b', labels_encoder: 'org/c' }) },
  });
  place.hub.addRepo({ id: 'org/b', files: { 'adapter_config.json': json({ base_model_name_or_path: 'org/a' }) } });
  place.hub.addRepo({
    id: 'org/c',
    files: { 'config.json': json({ auto_map: { A: 'org/c--x.Y', B: ['org/b--x.Y', null] } }) },
  });

  expect((await place.snapshot('org/a', { companions: true })).ok).toBe(true);

  expect(Object.keys(await locked()).sort()).toEqual(['org/a', 'org/b', 'org/c']);
});

it('a repo that is wanted as a whole by one and in part by another comes as a whole', async () => {
  const whole = { 'x.py': '# code', 'config.json': '{}', 'model.safetensors': 'w' };
  place.hub.addRepo({ id: 'org/both', files: whole });
  place.hub.addRepo({
    id: 'org/a',
    files: {
      'config.json': json({ auto_map: { A: 'org/both--x.Y' } }),
      'adapter_config.json': json({ base_model_name_or_path: 'org/b' }),
    },
  });
  place.hub.addRepo({ id: 'org/b', files: { 'gliner_config.json': json({ model_name: 'org/both' }) } });

  await place.snapshot('org/a', { companions: true });

  const both = (await readLockOf(place)).models.find(({ repo }) => repo === 'org/both');
  expect(both?.files.map(({ path }) => path).sort()).toEqual(Object.keys(whole).sort());
  expect(both?.namedBy).toHaveLength(2);
});

it('a missing or gated companion is named with what named it, and the others are fetched', async () => {
  const config = json({ model_name: 'org/gone', labels_encoder: 'org/gated' });
  place.hub.addRepo({ id: 'org/a', files: { 'gliner_config.json': config } });
  place.hub.addRepo({ id: 'org/gated', files: { 'config.json': '{}' }, gated: 'auto' });

  const report = await place.snapshot('org/a', { companions: true });

  const failed = report.items.filter(({ state }) => state === 'failed');
  expect(failed.map(({ name, error, detail }) => [name, error?.code, detail?.['namedBy']])).toEqual([
    ['org/gone@main', 'E_NOT_FOUND', [{ repo: 'org/a', file: 'gliner_config.json', key: 'model_name' }]],
    ['org/gated@main', 'E_GATED', [{ repo: 'org/a', file: 'gliner_config.json', key: 'labels_encoder' }]],
  ]);
  expect(report.exit).toBe(3);
  expect(Object.keys(await locked())).toEqual(['org/a']);
});

it('companions without end are refused before anything is fetched', async () => {
  for (let index = 0; index < 12; index += 1)
    place.hub.addRepo({
      id: `org/r${index}`,
      files: { 'gliner_config.json': json({ model_name: `org/r${index + 1}` }) },
    });
  expect(await codeOf(place.snapshot('org/r0', { companions: true }))).toBe('E_CORRUPT');
});

it('a mirror manifest asks for them by model', async () => {
  place.hub.addRepo({ id: 'org/a', files: { 'gliner_config.json': json({ model_name: 'org/b' }) } });
  place.hub.addRepo({ id: 'org/b', files: { 'config.json': '{}', 'README.md': 'x' } });
  const manifest = `apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nmodels: [{ repo: org/a, companions: true }]\n`;
  await writeFile(join(place.directory, 'm.yaml'), manifest);

  const report = await plan({ manifest: 'm.yaml', out: 'lock.json' }, place.context);

  expect(report.items.map(({ detail }) => detail?.['namedBy'])).toEqual([
    undefined,
    [{ repo: 'org/a', file: 'gliner_config.json', key: 'model_name' }],
  ]);
});

it('nothing that fails is hidden by a companion that does not', async () => {
  place.hub.addRepo({ id: 'org/a', files: { 'gliner_config.json': 'no JSON' } });
  expect((await place.snapshot('org/a', { companions: true })).ok).toBe(true);
  expect(failureIn(await place.snapshot(['org/a', 'org/gone'], { companions: true })).error?.code).toBe('E_NOT_FOUND');
});

describe('what a companion needs of a repo is added to what others need of it', () => {
  const parts = { 'x.py': '# code', 'tokenizer.json': '{}', 'config.json': '{}', 'model.safetensors': 'weights' };
  const names = Object.keys(parts).sort();
  const code = json({ auto_map: { AutoModel: 'org/parts--x.Model' } });
  const tokenizer = json({ model_cfg: { text_cfg: { hf_tokenizer_name: 'org/parts' } } });

  /** Files of the repo that the lock has, and those that stand in its snapshot. */
  async function held(): Promise<[string[], string[]]> {
    const model = (await readLockOf(place)).models.find(
      ({ repo, revision }) => repo === 'org/parts' && revision === 'main',
    );
    const folder = join(place.cache, 'models--org--parts/snapshots', model?.commit ?? '');
    const main = await readFile(join(place.cache, 'models--org--parts/refs/main'), 'utf8');
    expect(main).toBe(model?.commit);
    return [model?.files.map(({ path }) => path).sort() ?? [], (await readdir(folder)).sort()];
  }

  beforeEach(() => {
    place.hub.addRepo({ id: 'org/parts', files: parts });
    place.hub.addRepo({ id: 'org/coded', files: { 'config.json': code } });
    place.hub.addRepo({ id: 'org/tokenized', files: { 'open_clip_config.json': tokenizer } });
  });

  it.each([
    ['was fetched whole before', ['org/parts'], names],
    ['another run had fetched as another companion', ['org/tokenized'], names.filter((name) => !/model/.test(name))],
  ])('one that %s', async (_, first, wanted) => {
    await place.snapshot(first, { companions: true });
    expect((await place.snapshot('org/coded', { companions: true })).ok).toBe(true);
    expect(await held()).toEqual([wanted, wanted]);
    // Also where the lock has to tell what was wanted before.
    await place.snapshot('org/coded', { companions: true });
    expect(await held()).toEqual([wanted, wanted]);
  });

  it.each([[['org/tokenized', 'org/coded']], [['org/coded', 'org/tokenized']]])(
    'one that two need in one run: %s',
    async (repos) => {
      await place.snapshot(repos, { companions: true });
      const wanted = names.filter((name) => name !== 'model.safetensors');
      expect(await held()).toEqual([wanted, wanted]);
      expect((await locked())['org/parts']).toHaveLength(2);
    },
  );

  it('one whose branch has moved since', async () => {
    await place.snapshot('org/parts');
    place.hub.addRepo({ id: 'org/parts', files: { ...parts, 'x.py': '# newer code' } });
    await place.snapshot('org/coded', { companions: true });
    expect(await held()).toEqual([names, names]);
  });

  it('one of which another revision is needed: its main one stays where it is', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/parts', files: { 'config.json': '{"v":2}' }, branches: ['v2'] });
    const adapter = json({ base_model_name_or_path: 'org/parts', revision: 'v2' });
    place.hub.addRepo({ id: 'org/adapter', files: { 'adapter_config.json': adapter } });
    await place.snapshot('org/parts');
    await place.snapshot('org/adapter', { companions: true });
    expect(await held()).toEqual([names, names]);
    expect(await readFile(join(place.cache, 'models--org--parts/refs/v2'), 'utf8')).toBe(commit);
  });

  it('a dry run says so', async () => {
    await place.snapshot('org/parts');
    const report = await place.snapshot('org/coded', { companions: true, dryRun: true });
    expect(report.totals['files']).toBe(names.length + 1);
  });
});
