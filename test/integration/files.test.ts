import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { plan } from '../../src/commands/plan.ts';
import { pull } from '../../src/commands/pull.ts';
import { verify } from '../../src/commands/verify.ts';
import type { Report } from '../../src/core/report.ts';
import { codeOf } from '../support/failures.ts';
import { startFileServer } from '../support/file-server.ts';
import { failureIn, type HubPlace, readLockOf, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { TestServer } from '../support/server.ts';
import { placeTool } from '../support/tool.ts';

const model = seededBytes('gguf', 700_000);
const digest = createHash('sha256').update(model).digest('hex');
let place: HubPlace;
let content: Record<string, string | Uint8Array>;
let server: TestServer;

beforeEach(async () => {
  place = await startHubPlace();
  content = { '/dir/model.gguf': model, '/notes': 'notes' };
  server = await startFileServer(content);
});

afterEach(async () => {
  await server.close();
  await place.close();
});

async function write(files: unknown, models: unknown = []): Promise<void> {
  const manifest = { apiVersion: 'sie-mirror/v1', kind: 'MirrorManifest', metadata: { name: 'x' }, models, files };
  await writeFile(join(place.directory, 'm.yaml'), JSON.stringify(manifest));
}

const pullFrom = (manifest: string): Promise<Report> => pull({ manifest, store: 'store' }, place.context);
const stored = (name: string): string => join(place.directory, 'store/files', name);

describe('a file by its address', () => {
  it('is fetched with the sha256 that the manifest gives, and again only when it was changed', async () => {
    await write([{ url: `${server.url}/dir/model.gguf`, sha256: digest }]);

    expect(await pullFrom('m.yaml')).toMatchObject({
      ok: true,
      items: [{ kind: 'file', name: 'model.gguf', state: 'done' }],
    });
    expect((await readFile(stored('model.gguf'))).equals(model)).toBe(true);
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true, items: [{ state: 'present', bytes: 0 }] });
    await truncate(stored('model.gguf'), 5);
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true, items: [{ state: 'done' }] });
    expect(server.count(/^GET/)).toBe(2);
  });

  it('without a sha256 is held to the one of its first use', async () => {
    await write([{ url: `${server.url}/notes`, name: 'notes.txt' }]);
    expect(await plan({ manifest: 'm.yaml', out: 'l.json' }, place.context)).toMatchObject({ ok: true });
    expect(await pullFrom('l.json')).toMatchObject({ ok: true, items: [{ detail: { firstUse: true } }] });
    const [locked] = (await readLockOf(place)).files;
    expect(locked).toMatchObject({
      name: 'notes.txt',
      size: 5,
      sha256: createHash('sha256').update('notes').digest('hex'),
    });

    // A lock or manifest that does not know it is held to what the store's lock knows.
    content['/notes'] = 'other';
    for (const manifest of ['l.json', 'm.yaml', 'store/mirror.lock.json']) {
      expect(await pullFrom(manifest)).toMatchObject({ ok: true, items: [{ state: 'present', bytes: 0 }] });
      const bytes = await readFile(stored('notes.txt'));
      await truncate(stored('notes.txt'), 0);
      const report = await pullFrom(manifest);
      expect(failureIn(report).error?.code).toBe('E_DIGEST_MISMATCH');
      expect(report.exit).toBe(4);
      await writeFile(stored('notes.txt'), bytes);
    }
  });

  it('that was changed in the store is noticed offline', async () => {
    await write([{ url: `${server.url}/dir/model.gguf` }]);
    await pullFrom('m.yaml');
    const check = (): Promise<Report> => place.snapshot([], { offline: true });
    expect(await check()).toMatchObject({ ok: true, totals: { files: 1, bytes: model.length } });
    await writeFile(stored('model.gguf'), seededBytes('other', model.length));
    const report = await check();
    expect(failureIn(report).error?.code).toBe('E_DIGEST_MISMATCH');
    expect(report.exit).toBe(4);
    await rm(stored('model.gguf'));
    expect(failureIn(await check()).error?.code).toBe('E_MISSING');
  });

  it('is refused when its bytes are others, and does not get its name', async () => {
    await write([{ url: `${server.url}/dir/model.gguf`, sha256: 'a'.repeat(64) }]);
    expect(failureIn(await pullFrom('m.yaml')).error?.code).toBe('E_DIGEST_MISMATCH');
    expect(await filesBelow(join(place.directory, 'store/files'))).toEqual([]);
  });

  it('is fetched once more when its bytes were wrong on the way, whether its size was known or not', async () => {
    let isFirst = true;
    server.faults = ({ method }) => {
      if (method !== 'GET' || !isFirst) return undefined;
      isFirst = false;
      return { kind: 'flip', at: 20 };
    };
    await write([{ url: `${server.url}/dir/model.gguf`, sha256: digest }]);

    for (let run = 0; run < 2; run += 1) {
      isFirst = true;
      expect(await pullFrom('m.yaml')).toMatchObject({ ok: true, items: [{ state: 'done' }] });
      expect(isFirst).toBe(false);
      expect((await readFile(stored('model.gguf'))).equals(model)).toBe(true);
      await rm(stored('model.gguf'));
    }
  });

  it('comes whole over connections that break', async () => {
    let left = 2;
    server.faults = ({ method }) => (method === 'GET' && left-- > 0 ? { kind: 'reset', after: 300_000 } : undefined);
    await write([
      { url: `${server.url}/dir/model.gguf` },
      { url: `${server.url}/notes`, sha256: createHash('sha256').update('notes').digest('hex') },
    ]);
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true });
    expect((await readFile(stored('model.gguf'))).equals(model)).toBe(true);
  });

  it('comes from a server that knows no HEAD', async () => {
    const plain = await startFileServer(content, { noHead: true });
    await write([{ url: `${plain.url}/dir/model.gguf`, sha256: digest }, { url: `${plain.url}/notes` }]);
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true });
    expect(await pullFrom('m.yaml')).toMatchObject({ items: [{ state: 'present' }, { state: 'present' }] });
    await plain.close();
  });

  it('whose size nobody tells comes by its sha256, and is refused without one', async () => {
    const plain = await startFileServer(content, { noLength: true });
    let left = 2;
    plain.faults = ({ method }) => (method === 'GET' && left-- > 0 ? { kind: 'reset', after: 300_000 } : undefined);
    await write([{ url: `${plain.url}/dir/model.gguf`, sha256: digest }]);
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true });
    expect((await readFile(stored('model.gguf'))).equals(model)).toBe(true);
    expect(await pullFrom('m.yaml')).toMatchObject({ items: [{ state: 'present' }] });
    expect((await readLockOf(place)).files).toMatchObject([{ size: model.length, sha256: digest }]);

    await write([{ url: `${plain.url}/notes` }]);
    const { error } = failureIn(await pullFrom('m.yaml'));
    expect(error).toMatchObject({ code: 'E_PROTOCOL', hint: expect.stringContaining('sha256') as string });
    expect(await filesBelow(join(place.directory, 'store/files'))).toEqual(['model.gguf']);
    await write([{ url: `${plain.url}/notes`, sha256: 'a'.repeat(64) }]);
    expect(failureIn(await pullFrom('m.yaml')).error?.code).toBe('E_DIGEST_MISMATCH');
    await plain.close();
  });

  it('that the store has no space for is not begun, nor is anything else', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}' } });
    server.faults = ({ method, path }) =>
      method === 'HEAD' && path === '/dir/model.gguf'
        ? { kind: 'status', status: 200, headers: { 'content-length': String(2 ** 52) } }
        : undefined;
    const files = [{ url: `${server.url}/notes` }, { url: `${server.url}/dir/model.gguf` }];
    await write(files, [{ repo: 'org/name' }]);

    expect(await codeOf(pullFrom('m.yaml'))).toBe('E_NO_SPACE');

    expect(server.count(/^GET/) + place.hub.server.count(/resolve/)).toBe(0);
    // What is there already takes no more.
    await mkdir(join(place.directory, 'store/files'), { recursive: true });
    await writeFile(stored('model.gguf'), '');
    await truncate(stored('model.gguf'), 2 ** 40);
    const lock = {
      ...(await readLockOf(place)),
      files: [{ url: `${server.url}/dir/model.gguf`, name: 'model.gguf', size: 2 ** 40, sha256: digest }],
    };
    await writeFile(join(place.directory, 'l.json'), JSON.stringify(lock));
    expect(await pullFrom('l.json')).toMatchObject({ ok: true });
  });

  it('that is not there lets no lock be written', async () => {
    await write([{ url: `${server.url}/gone` }]);
    const report = await plan({ manifest: 'm.yaml', out: 'l.json' }, place.context);
    expect(failureIn(report).error?.code).toBe('E_NOT_FOUND');
    expect(await filesBelow(place.directory)).toEqual(['m.yaml']);
  });

  it.each([
    ['another scheme', [{ url: 'file:///etc/passwd' }]],
    ['a password', [{ url: 'https://me:hunter2@x.example/y' }]],
    ['a signature', [{ url: 'https://x.example/y?X-Amz-Signature=hunter2' }]],
    ['no name', [{ url: 'https://x.example/' }]],
    ['a name for two', [{ url: 'https://x.example/a' }, { url: 'https://y.example/A' }]],
    ['the name of the folder of licences', [{ url: 'https://x.example/licences' }]],
  ])('is refused with %s', async (_, files) => {
    await write(files);
    expect(await codeOf(plan({ manifest: 'm.yaml', out: 'l.json' }, place.context))).toBe('E_MANIFEST');
  });

  it('is carried by a bundle, and so are licences, safety reports and datasets', async () => {
    place.hub.addRepo({ id: 'org/name', files: { LICENSE: 'MIT', 'config.json': '{}' } });
    place.hub.addRepo({ id: 'org/data', type: 'dataset', files: { 'a.parquet': 'rows' } });
    const manifest = {
      apiVersion: 'sie-mirror/v1',
      kind: 'MirrorManifest',
      metadata: { name: 'x' },
      models: [{ repo: 'org/name' }, { repo: 'org/data', type: 'dataset' }],
      files: [{ url: `${server.url}/dir/model.gguf` }],
    };
    await writeFile(join(place.directory, 'm.yaml'), JSON.stringify(manifest));
    const context = { ...place.context, toolFile: await placeTool(place.directory) };
    expect(await pullFrom('m.yaml')).toMatchObject({ ok: true });

    expect(await bundle({ store: 'store', out: '.' }, context)).toMatchObject({ ok: true });
    expect(await verify({ bundle: 'x' }, context)).toMatchObject({ ok: true });

    const inventory = JSON.parse(await readFile(join(place.directory, 'x/inventory.json'), 'utf8')) as {
      blobs: { path: string }[];
    };
    const paths = inventory.blobs.map(({ path }) => path);
    expect(paths).toContain('files/model.gguf');
    expect(paths.some((path) => /^files\/licences\/models--org--name\/[0-9a-f]{40}\/LICENSE$/.test(path))).toBe(true);
    const reports = paths.filter((path) => path.startsWith('safety/')).map((path) => path.split('@')[0]);
    expect(reports).toEqual(['safety/datasets--org--data', 'safety/models--org--name']);
    expect(paths.some((path) => path.startsWith('hub/datasets--org--data/blobs/'))).toBe(true);

    // What is gone from the store is not left out without a word.
    await truncate(stored('model.gguf'), 3);
    expect(await codeOf(bundle({ store: 'store', out: 'again' }, context))).toBe('E_DIGEST_MISMATCH');
  });
});
