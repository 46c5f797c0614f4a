import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { pull } from '../../src/commands/pull.ts';
import { verifyStore } from '../../src/commands/verify/store.ts';
import type { Event } from '../../src/core/events.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { startFileServer } from '../support/file-server.ts';
import { failureIn } from '../support/hub-store.ts';
import { buildImage, type BuiltImage } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import type { TestServer } from '../support/server.ts';
import { imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

let world: World;
let files: TestServer;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let events: Event[] = [];
const other: BuiltImage = buildImage({ seed: 'other' });

beforeAll(async () => {
  world = await startWorld({ weightsBytes: 20_000 });
  world.source.put('team/other', other, 'v1');
  files = await startFileServer({ '/notes.txt': 'notes that are held to their sha256' });
});

beforeEach(async () => {
  place = await temporaryDirectory();
  await writeManifest([`${world.source.host}/${imageRepository}:${imageTag}`]);
  return () => place[Symbol.asyncDispose]();
});

afterAll(async () => {
  await files.close();
  await world.close();
});

const stored = (path: string): string => join(place.path, 'store', path);
const blob = (digest: string): string => stored(`oci/blobs/${digest.replace(':', '/')}`);
/** The first manifest that the index names. */
const child = (): string => [...world.image.manifests.keys()][0] ?? '';
const weights = (): string => stored(`hub/models--sie-test--tiny-e5/snapshots/${world.commit}/model.safetensors`);
const warnings = (): number => events.filter(({ type }) => type === 'warning').length;

async function writeManifest(images: readonly string[]): Promise<void> {
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'x' },
    models: [{ repo: modelId }],
    images: images.map((ref, index) => ({ ref, to: `image-${index}` })),
    files: [{ url: `${files.url}/notes.txt` }],
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
}

async function run(work: (context: Parameters<typeof pull>[1]) => Promise<Report>): Promise<Report> {
  const own = await testContext({ cwd: place.path, env: world.online, insecureHosts: [world.source.host] });
  events = own.events;
  try {
    return await work(own.context);
  } finally {
    await own.context.close();
  }
}

const pulled = (options: { verify?: boolean } = {}): Promise<Report> =>
  run((context) => pull({ manifest: 'm.yaml', store: 'store', ...options }, context));
const states = ({ items }: Report): string[] => items.map(({ kind, state }) => `${kind} ${state}`).sort();

/** Other bytes of the same length, which no look at sizes can tell. */
async function damage(path: string): Promise<Buffer> {
  const bytes = await readFile(path);
  const wrong = Buffer.from(bytes);
  wrong[wrong.length >> 1] = (wrong[wrong.length >> 1] ?? 0) ^ 4;
  await writeFile(path, wrong);
  return bytes;
}

describe('pull --verify', () => {
  it('reads every byte of what is there, and fetches again what was changed: models, files, and images to their layers', async () => {
    expect(await pulled()).toMatchObject({ ok: true });
    // An index hides what its damaged manifests name, and those their layers.
    const layer = [...world.image.blobs.entries()].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? '';
    const paths = [weights(), stored('files/notes.txt'), blob(world.image.digest), blob(child()), blob(layer)];
    const right = await Promise.all(paths.map(damage));
    expect(states(await pulled())).toEqual(['file present', 'image present', 'model present']);

    const report = await pulled({ verify: true });

    expect([report.ok, states(report)]).toEqual([true, ['file done', 'image done', 'model done']]);
    expect(await Promise.all(paths.map((path) => readFile(path)))).toEqual(right);
    expect(warnings()).toBe(paths.length);
    expect(await run((context) => verifyStore('store', context))).toMatchObject({ ok: true });
  });

  it('fetches nothing of a store that is whole', async () => {
    await pulled();
    const before = world.source.server.count(/^GET .*\/blobs\//) + files.count(/^GET/);

    const report = await pulled({ verify: true });

    expect(states(report)).toEqual(['file present', 'image present', 'model present']);
    expect(report.totals).toMatchObject({ bytes: 0 });
    expect(world.source.server.count(/^GET .*\/blobs\//) + files.count(/^GET/)).toBe(before);
    expect(warnings()).toBe(0);
  });

  it('brings back what is gone from the layout', async () => {
    await pulled();
    await rm(blob(child()));
    expect(states(await pulled({ verify: true }))).toContain('image done');
    expect(await run((context) => verifyStore('store', context))).toMatchObject({ ok: true });
  });

  it('says what it cannot mend, of an image that this pull does not bring', async () => {
    const first = `${world.source.host}/${imageRepository}:${imageTag}`;
    await writeManifest([first, `${world.source.host}/team/other:v1`]);
    await pulled();
    await writeManifest([first]);
    await damage(blob(other.digest));

    const report = await pulled({ verify: true });

    expect(failureIn(report).error?.code).toBe('E_MISSING');
    expect(report.exit).toBe(4);
  });
});
