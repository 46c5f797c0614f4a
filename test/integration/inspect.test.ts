import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { diff } from '../../src/commands/inspect/diff.ts';
import { importBundle } from '../../src/commands/import.ts';
import { inspect } from '../../src/commands/inspect.ts';
import { pull } from '../../src/commands/pull.ts';
import type { ReportItem } from '../../src/core/report.ts';
import type { Lock } from '../../src/manifest/schema.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { startFileServer } from '../support/file-server.ts';
import { type HubPlace, startHubPlace } from '../support/hub-store.ts';
import type { TestServer } from '../support/server.ts';
import { placeTool } from '../support/tool.ts';

const weights = Buffer.alloc(3000, 'w');
let place: HubPlace;
let server: TestServer;
let content: Record<string, string>;

beforeEach(async () => {
  place = await startHubPlace();
  content = { '/notes.txt': 'notes' };
  server = await startFileServer(content);
  place.hub.addRepo({ id: 'org/model', files: { 'config.json': '{}', 'model.safetensors': weights } });
  // One of its files is that of the model, and stands once in the store.
  place.hub.addRepo({ id: 'org/data', type: 'dataset', files: { 'data.bin': weights, 'a/more.txt': 'more' } });
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'site' },
    models: [
      { repo: 'org/model', filter: 'all' },
      { repo: 'org/data', type: 'dataset', filter: 'all' },
    ],
    files: [{ url: `${server.url}/notes.txt` }],
  };
  await writeFile(join(place.directory, 'm.yaml'), JSON.stringify(manifest));
});

afterEach(async () => {
  await server.close();
  await place.close();
});

/** What the mirror manifest brings now, as the bundle `OUT/site`, and its lock. */
async function make(out: string): Promise<void> {
  const { directory } = place;
  // A store stays locked as long as the context of who fills it.
  const online = await place.withEnv({});
  expect(await pull({ manifest: 'm.yaml', store: out }, online.context)).toMatchObject({ ok: true });
  await online.close();
  await writeFile(join(directory, `${out}.lock.json`), await readFile(join(directory, out, 'mirror.lock.json')));
  const { context } = await testContext({ cwd: directory, toolFile: await placeTool(directory) });
  await bundle({ store: out, out: `usb-${out}` }, context);
  await context.close();
}

/** `CHANGE KIND NAME FILES-CAME/WENT/CHANGED NEW/GONE` */
const changesIn = (items: readonly ReportItem[]): string[] =>
  items.map(({ kind, name, bytes, detail }) => {
    const { change, gone, files } = detail as { change: string; gone: number; files?: Record<string, string[]> };
    const counts = files ? ` ${['came', 'went', 'changed'].map((each) => files[each]?.length).join('/')}` : '';
    return `${change} ${kind} ${name}${counts} ${bytes}/${gone}`;
  });

const between = async (before: string, after: string): Promise<string[]> =>
  changesIn((await diff({ before, after }, place.context)).items);

describe('what differs', () => {
  it('between a lock and the bundle that was made of it is nothing, datasets and single files included', async () => {
    await make('one');
    expect(await between('one.lock.json', 'usb-one/site')).toEqual([]);
    expect(await between('usb-one/site', 'one.lock.json')).toEqual([]);
  });

  it('between two bundles is named by repo, file and bytes, in both directions', async () => {
    await make('one');
    place.hub.addRepo({ id: 'org/data', type: 'dataset', files: { 'data.bin': weights, 'b.txt': 'another' } });
    content['/notes.txt'] = 'other notes';
    await make('two');

    const pairs = [
      ['usb-one/site', 'usb-two/site'],
      ['one.lock.json', 'two.lock.json'],
      ['one.lock.json', 'usb-two/site'],
    ];
    for (const [before = '', after = ''] of pairs) {
      expect(await between(before, after), `${before} ${after}`).toEqual([
        'changed dataset org/data 1/1/0 7/4',
        'changed file notes.txt 11/5',
      ]);
      expect((await between(after, before)).map((line) => line.split(' ').at(-1))).toEqual(['4/7', '5/11']);
    }
  });

  it('between locks with several commits of one repo are those commits that only one of them has', async () => {
    const lock = async (name: string, commits: readonly string[]): Promise<void> => {
      const models: Lock['models'] = commits.map((commit) => ({
        type: 'model',
        repo: 'org/model',
        revision: commit,
        canonical: 'org/model',
        commit,
        gated: false,
        files: [],
      }));
      const document: Lock = { schema: 'sie-mirror/lock/v1', name, models, images: [], files: [] };
      await writeFile(join(place.directory, `${name}.json`), JSON.stringify(document));
    };
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(40)) as [string, string, string];
    await lock('ab', [a, b]);
    await lock('b', [b]);
    await lock('bc', [b, c]);
    await lock('none', []);
    const commits = async (before: string, after: string): Promise<unknown[]> =>
      (await diff({ before, after }, place.context)).items.map(({ detail }) => [
        detail?.['change'],
        detail?.['from'],
        detail?.['to'],
      ]);

    expect(await commits('ab.json', 'ab.json')).toEqual([]);
    expect(await commits('ab.json', 'b.json')).toEqual([['went', a, undefined]]);
    expect(await commits('ab.json', 'bc.json')).toEqual([['changed', a, c]]);
    expect(await commits('none.json', 'ab.json')).toEqual([
      ['came', undefined, a],
      ['came', undefined, b],
    ]);
  });
});

describe('what is in', () => {
  beforeEach(async () => {
    await make('one');
  });

  const namesIn = async (record: string): Promise<string[]> =>
    (await inspect({ record }, place.context)).items.map(({ kind, name }) => `${kind} ${name.split('@')[0]}`);

  it('a bundle, and its inventory alone', async () => {
    expect(await namesIn('usb-one/site')).toEqual(['model org/model']);
    expect(await namesIn('usb-one/site/inventory.json')).toEqual(['model org/model']);
  });

  it('a lock', async () => {
    const report = await inspect({ record: 'one.lock.json' }, place.context);

    expect(report.items.map(({ kind, name, bytes }) => `${kind} ${name.split('@')[0]} ${bytes}`)).toEqual([
      'model org/model 3002',
      'dataset org/data 3004',
      'file notes.txt 5',
    ]);
    expect(report.summary.at(-1)).toMatch(/^site: a lock of 2 repos, 0 images and 1 file/);
  });

  it('a receipt', async () => {
    const targets = { models: 'file:zone', receipt: 'r.json' };
    expect(await importBundle({ bundle: 'usb-one/site', ...targets }, place.context)).toMatchObject({ ok: true });
    const report = await inspect({ record: 'r.json' }, place.context);

    expect(report.items.map(({ kind, name }) => `${kind} ${name.split('@')[0]}`)).toEqual(['model org/model']);
    expect(report.summary.at(-1)).toMatch(/^site: the receipt of an import by sie-mirror/);
  });

  it('nothing else', async () => {
    expect(await codeOf(inspect({ record: 'm.yaml' }, place.context))).toBe('E_USAGE');
    expect(await codeOf(inspect({ record: 'nowhere' }, place.context))).toBe('E_NOT_FOUND');
  });
});
