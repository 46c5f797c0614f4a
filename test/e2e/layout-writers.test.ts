import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { type CliResult, runCli } from '../support/cli.ts';
import { buildImage, type BuiltImage } from '../support/images.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { waitFor } from '../support/wait.ts';

const mebi = 1024 * 1024;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let source: TestRegistry;

beforeEach(async () => {
  place = await temporaryDirectory();
  source = await startRegistry({ redirectBlobs: true });
});

afterEach(async () => {
  await source.close();
  await place[Symbol.asyncDispose]();
});

function putImage(name: string, layerBytes: number): BuiltImage {
  const image = buildImage({ seed: name, layers: 3, layerBytes });
  source.put(name, image, 'v1');
  return image;
}

const copy = async (name: string, onStart?: (kill: (signal: NodeJS.Signals) => void) => void): Promise<CliResult> =>
  runCli(['copy', `${source.host}/${name}:v1`, 'oci:layout', '--insecure-host', source.host], {
    cwd: place.path,
    ...(onStart && { onStart }),
  });

const sent = (): number => source.cdn.requests.reduce((sum, record) => sum + record.sent, 0);
const bytesOf = (image: BuiltImage): number => [...image.blobs.values()].reduce((sum, { length }) => sum + length, 0);

/** The size of each large file in the making. */
async function partialBytes(): Promise<number[]> {
  const paths = await filesBelow(join(place.path, 'layout')).catch(() => []);
  const sizes = paths
    .filter((path) => path.startsWith('blobs/') && path.endsWith('.partial'))
    .map(async (path) => (await stat(join(place.path, 'layout', path)).catch(() => undefined))?.size ?? 0);
  return (await Promise.all(sizes)).filter((size) => size > mebi);
}

interface Entry {
  digest: string;
  annotations?: Record<string, string>;
}

async function entries(): Promise<Entry[]> {
  return (JSON.parse(await readFile(join(place.path, 'layout/index.json'), 'utf8')) as { manifests: Entry[] })
    .manifests;
}

/** Every blob is what its name says, and nothing but the layout is there. */
async function expectWhole(): Promise<void> {
  const files = await filesBelow(join(place.path, 'layout'));
  expect(files.filter((path) => !/^blobs\/sha256\/[0-9a-f]{64}$/.test(path))).toEqual(['index.json', 'oci-layout']);
  for (const path of files.filter((each) => each.startsWith('blobs/')))
    expect(sha256(await readFile(join(place.path, 'layout', path)))).toBe(path.replace('blobs/sha256/', 'sha256:'));
}

it('four processes that copy different images into one layout all succeed, and every image is there', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const images = names.map((name) => putImage(name, 2 * mebi));
  expect((await Promise.all(names.map((name) => copy(name)))).map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  expect((await entries()).map(({ digest }) => digest).sort()).toEqual(images.map(({ digest }) => digest).sort());
  await expectWhole();
});

it('four processes that copy the same image succeed, and fetch little more than one would', async () => {
  const image = putImage('same', 4 * mebi);
  const results = await Promise.all([1, 2, 3, 4].map(() => copy('same')));
  expect(results.map(({ code, stderr }) => [code, code === 0 ? '' : stderr])).toEqual(results.map(() => [0, '']));
  expect(await entries()).toHaveLength(1);
  expect(sent()).toBeLessThan(2.5 * bytesOf(image));
  await expectWhole();
});

it('what several killed ones left is gone on with by the next, which leaves nothing of it', async () => {
  const image = putImage('cut', 8 * mebi);
  source.cdn.faults = () => ({ kind: 'stall', after: 5 * mebi });
  const kills: ((signal: NodeJS.Signals) => void)[] = [];
  const running = [1, 2].map(() => copy('cut', (kill) => kills.push(kill)));
  await waitFor('what the server gave of each layer is on disk', async () => {
    const sizes = await partialBytes();
    return sizes.length === 3 && sizes.every((bytes) => bytes >= 4 * mebi);
  });
  for (const kill of kills) kill('SIGKILL');
  expect((await Promise.all(running)).map(({ code }) => code)).toEqual([137, 137]);
  const left = (await filesBelow(join(place.path, 'layout'))).filter((path) => !/[0-9a-f]{64}$/.test(path));
  expect(left.filter((path) => !path.endsWith('.partial'))).toEqual(['index.json', 'oci-layout']);

  source.cdn.faults = undefined;
  const before = sent();
  expect(await copy('cut')).toMatchObject({ code: 0 });
  expect(sent() - before).toBeLessThan(0.55 * bytesOf(image));
  await expectWhole();
});

it('a lock of a process that was killed while it changed the index is taken over', async () => {
  putImage('a', 1000);
  expect(await copy('a')).toMatchObject({ code: 0 });
  const lock = join(place.path, 'layout/index.json.lock.partial');
  await writeFile(`${lock}.new`, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), run: 'x', id: 'y' }));
  await rename(`${lock}.new`, lock);
  putImage('b', 1000);
  expect(await copy('b')).toMatchObject({ code: 0 });
  expect(await entries()).toHaveLength(2);
  await expectWhole();
});
