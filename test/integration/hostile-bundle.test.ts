import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { copy } from '../../src/commands/copy.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { Inventory } from '../../src/bundle/records/inventory.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { placeTool } from '../support/tool.ts';
import { dockerConfig, imageRepository, imageTag, startWorld, type World } from '../support/world.ts';

/** What somebody with the drive may try. Nothing of it comes in, so that one zone serves all tests. */

let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let context: Context;
/** The bundle, anew for each test. */
let path: string;

beforeAll(async () => {
  world = await startWorld({ layerBytes: 2048 });
  place = await temporaryDirectory();
  path = join(place.path, 'b');
  await mkdir(join(place.path, '.docker'));
  await writeFile(join(place.path, '.docker/config.json'), dockerConfig(world.zone));
  const insecureHosts = [world.source.host, world.zone.host];
  const made = await testContext({ cwd: place.path, env: world.inside, insecureHosts });
  context = { ...made.context, toolFile: await placeTool(place.path) };
  const source = `${world.source.host}/${imageRepository}:${imageTag}`;
  await copy({ source, target: 'oci:store/oci', referrers: true }, context);
  await bundle({ store: 'store', out: 'usb', name: 'b' }, context);
});

beforeEach(async () => {
  await rm(path, { recursive: true, force: true });
  await cp(join(place.path, 'usb/b'), path, { recursive: true });
  world.zone.server.requests.length = 0;
});

afterAll(async () => {
  await context.close();
  await world.close();
  await place[Symbol.asyncDispose]();
});

/** Rewrites the inventory, and the sums to match: what somebody with the drive and without the key can do. */
async function rewriteInventory(change: (inventory: Inventory) => void): Promise<void> {
  const inventory = JSON.parse(await readFile(join(path, 'inventory.json'), 'utf8')) as Inventory;
  change(inventory);
  const text = `${JSON.stringify(inventory, undefined, 1)}\n`;
  await writeFile(join(path, 'inventory.json'), text);
  const sums = await readFile(join(path, 'SHA256SUMS'), 'utf8');
  const digest = createHash('sha256').update(text).digest('hex');
  await writeFile(join(path, 'SHA256SUMS'), sums.replace(/^[0-9a-f]{64}(?= {2}inventory\.json$)/m, digest));
}

const imagesOf = (inventory: Inventory): { reference: string; to?: string | undefined; digests: string[] }[] =>
  inventory.items.filter((item) => item.kind === 'image');
const pushes = (): number => world.zone.server.count(/^(?:PUT|POST|PATCH) /);

describe('a bundle whose', () => {
  it('index of images was stripped of its signatures inside the volume brings nothing in', async () => {
    const inventory = JSON.parse(await readFile(join(path, 'inventory.json'), 'utf8')) as Inventory;
    const index = inventory.blobs.find((blob) => blob.path === 'oci/index.json');
    const part = index?.parts[0];
    expect(part).toBeDefined();
    const volume = await readFile(join(path, 'b.0001.tar'));
    const before = volume.subarray(part?.offset, (part?.offset ?? 0) + (part?.size ?? 0)).toString();
    const stripped = JSON.parse(before) as { manifests: { annotations?: Record<string, string> }[] };
    stripped.manifests = stripped.manifests.filter(({ annotations }) =>
      annotations?.['org.opencontainers.image.ref.name']?.endsWith(imageTag),
    );
    volume.write(JSON.stringify(stripped).padEnd(before.length), part?.offset ?? 0);
    await writeFile(join(path, 'b.0001.tar'), volume);

    expect(await importBundle({ bundle: path, images: world.zone.host }, context)).toMatchObject({
      ok: false,
      exit: 4,
    });
    expect(pushes()).toBe(0);
  });

  it.each([
    ['a reference that climbs', '../../../victim/repo/manifests/latest'],
    ['a reference with control characters', 'a/b:\u001b[2J'],
    ['an empty reference', ''],
  ])('inventory has %s is refused', async (_, reference) => {
    await rewriteInventory((inventory) => imagesOf(inventory).forEach((image) => (image.reference = reference)));
    expect(await codeOf(importBundle({ bundle: path, images: world.zone.host }, context))).toBe('E_CORRUPT');
    expect(pushes()).toBe(0);
  });

  it.each(['../../evil', 'x:stolen', `x@sha256:${'0'.repeat(64)}`, 'UPPER', ''])(
    'inventory wants an image at `%s` is refused',
    async (to) => {
      await rewriteInventory((inventory) => imagesOf(inventory).forEach((image) => (image.to = to)));
      expect(await codeOf(importBundle({ bundle: path, images: `${world.zone.host}/m` }, context))).toBe('E_CORRUPT');
      expect(pushes()).toBe(0);
    },
  );

  it('inventory names other digests than its volumes hold brings nothing in', async () => {
    await rewriteInventory((inventory) => imagesOf(inventory).forEach((image) => image.digests.pop()));
    const report = await importBundle({ bundle: path, images: world.zone.host }, context);
    expect(report).toMatchObject({ ok: false, exit: 4 });
    expect(pushes()).toBe(0);
  });

  it('inventory was replaced by a link is refused', async () => {
    await cp(join(path, 'inventory.json'), join(place.path, 'elsewhere.json'));
    await unlink(join(path, 'inventory.json'));
    await symlink('../elsewhere.json', join(path, 'inventory.json'));
    expect(await codeOf(importBundle({ bundle: path, images: world.zone.host }, context))).toBe('E_CORRUPT');
  });
});
