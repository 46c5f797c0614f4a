import { appendFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { inspect } from '../../src/commands/inspect.ts';
import { verify } from '../../src/commands/verify.ts';
import type { Report, ReportItem } from '../../src/core/report.ts';
import type { Lock } from '../../src/manifest/schema.ts';
import { HashPool } from '../../src/fs/hash-pool.ts';
import { testContext } from '../support/context.ts';
import { makeZone, type MadeZone } from '../support/made-zone.ts';
import { filesBelow } from '../support/place.ts';
import { imageRepository, imageTag } from '../support/world.ts';

let made: MadeZone;
const at = (path: string): string => join(made.path, 'store', path);
const folder = 'hub/models--sie-test--tiny-e5';
const blob = (digest: string): string => at(`oci/blobs/${digest.replace(':', '/')}`);
const layer = (): string =>
  [...made.world.image.blobs.entries()].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? '';
const failed = ({ items }: Report): ReportItem[] => items.filter(({ state }) => state === 'failed');
const findings = (report: Report): string[] =>
  failed(report)
    .filter(({ detail }) => detail?.['problem'] !== undefined)
    .map(({ kind, error, detail }) => `${kind} ${String(detail?.['problem'])} ${error?.code}`);
const things = (report: Report): string[] =>
  failed(report).flatMap(({ kind, detail }) => (detail?.['damaged'] ? [kind] : []));

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 4;
  await writeFile(path, bytes);
}

/** Names the image in the lock, as `pull` does. */
async function lockImage(digest: string): Promise<void> {
  const lock = JSON.parse(await readFile(at('mirror.lock.json'), 'utf8')) as Lock;
  lock.images = [
    {
      reference: `${made.world.source.host}/${imageRepository}:${imageTag}`,
      root: {
        mediaType: made.world.image.mediaType,
        digest: digest as `sha256:${string}`,
        size: made.world.image.bytes.length,
      },
      bytes: 1,
      to: 'sie',
    },
  ];
  await writeFile(at('mirror.lock.json'), JSON.stringify(lock));
}

beforeAll(async () => {
  made = await makeZone();
  await cp(at(''), join(made.path, 'kept'), { recursive: true, verbatimSymlinks: true });
});

beforeEach(async () => {
  await rm(at(''), { recursive: true });
  await cp(join(made.path, 'kept'), at(''), { recursive: true, verbatimSymlinks: true });
  await lockImage(made.world.image.digest);
});

afterAll(() => made[Symbol.asyncDispose]());

it('that is as its lock says is good, and nothing of it is touched', async () => {
  const before = await filesBelow(at(''));
  const report = await made.verifyStore();
  expect([report.verdict, report.ok, failed(report)]).toEqual(['GOOD', true, []]);
  // The image, and what cosign and an SBOM say of it.
  expect(report.items.map(({ kind }) => kind)).toEqual(['model', 'image', 'image', 'image']);
  expect(await filesBelow(at(''))).toEqual(before);
});

describe('stores and bundles', () => {
  it('are read without a connection to anybody', async () => {
    const connect = vi.spyOn(Socket.prototype, 'connect');
    expect((await made.verifyStore()).ok).toBe(true);
    const { context } = await testContext({ cwd: made.path });
    expect(await verify({ bundle: 'usb/b' }, context)).toMatchObject({ ok: true });
    expect(await inspect({ record: 'usb/b' }, context)).toMatchObject({ ok: true });
    await context.close();
    expect(connect).not.toHaveBeenCalled();
    connect.mockRestore();
  });
});

describe('what is named', () => {
  it.each<[string, string[], string[], () => Promise<void>]>([
    [
      'a file with another byte',
      ['file corrupt E_DIGEST_MISMATCH'],
      ['model'],
      () => flip(at(`${folder}/snapshots/${made.world.commit}/model.safetensors`)),
    ],
    [
      'a file that is gone',
      ['file missing E_MISSING'],
      ['model'],
      () => rm(at(`${folder}/snapshots/${made.world.commit}/vocab.txt`)),
    ],
    [
      'a file too many',
      ['file extra E_CORRUPT'],
      ['model'],
      () => writeFile(at(`${folder}/snapshots/${made.world.commit}/evil.py`), ''),
    ],
    [
      'a ref that leads elsewhere',
      ['file corrupt E_CORRUPT'],
      ['model'],
      () => appendFile(at(`${folder}/refs/main`), '\n'),
    ],
    ['a layer with another byte', ['blob corrupt E_DIGEST_MISMATCH'], ['image'], () => flip(blob(layer()))],
    ['a layer that is gone', ['blob missing E_MISSING'], ['image'], () => rm(blob(layer()))],
    ['a layer that was cut', ['blob size E_SIZE_MISMATCH'], ['image'], () => truncate(blob(layer()), 10)],
    [
      'a manifest with another byte',
      ['blob corrupt E_DIGEST_MISMATCH'],
      ['image'],
      () => flip(blob(made.world.image.digest)),
    ],
    [
      'an image that is another one than in the lock',
      ['blob corrupt E_DIGEST_MISMATCH'],
      ['image'],
      () => lockImage(`sha256:${'0'.repeat(64)}`),
    ],
    ['a layout without its index', ['file corrupt E_CORRUPT'], ['image'], () => rm(at('oci/index.json'))],
    [
      'a layout that says nothing of its version',
      ['file corrupt E_CORRUPT'],
      ['image'],
      () => writeFile(at('oci/oci-layout'), '{'),
    ],
    [
      'an image that is not there',
      ['blob missing E_MISSING'],
      ['image'],
      () => writeFile(at('oci/index.json'), '{"schemaVersion":2,"manifests":[]}'),
    ],
  ])('is %s', async (_, found, broken, damage) => {
    await damage();
    const report = await made.verifyStore();
    expect([report.exit, report.verdict, findings(report), things(report)]).toEqual([4, 'BAD', found, broken]);
    expect(failed(report)[0]?.error?.hint).toMatch(/run/);
  });
});

it.each<[string, () => string, string]>([
  ['a file of a model', () => 'model.safetensors', 'model'],
  ['a layer', () => layer().replace('sha256:', ''), 'image'],
])('%s that cannot be read is not called damaged, and all else is judged', async (_, part, kind) => {
  const wanted = part();
  const worn = vi.spyOn(HashPool.prototype, 'sha256').mockImplementation(async ([extent]) => {
    if (extent?.path.endsWith(wanted))
      throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES', syscall: 'open' });
    return createHash('sha256')
      .update(await readFile(extent?.path ?? ''))
      .digest('hex');
  });
  const report = await made.verifyStore();
  worn.mockRestore();
  expect([report.verdict, report.exit, things(report)]).toEqual(['NOT PROVEN', 3, [kind]]);
  expect(new Set(findings(report).map((each) => each.split(' ')[1]))).toEqual(new Set(['unreadable']));
  expect(report.items.filter(({ state }) => state === 'done').length).toBeGreaterThan(0);
});

it('says what the lock does not name, for a bundle would carry it', async () => {
  await writeFile(at(`${folder}/refs/other`), 'c'.repeat(40));
  await cp(at(folder), at('hub/models--org--more'), { recursive: true, verbatimSymlinks: true });
  const report = await made.verifyStore();
  expect([report.ok, report.verdict]).toEqual([true, 'GOOD, MORE THAN THE LOCK SAYS']);
  expect(report.summary.find((line) => line.startsWith('EXTRA'))).toMatch(
    /org--more\/refs\/main.*tiny-e5\/refs\/other/,
  );
});

it('is nothing that can be said without a lock', async () => {
  await rm(at('mirror.lock.json'));
  await expect(made.verifyStore()).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  expect(await readdir(at(''))).not.toContain('.sie-mirror.lock');
});
