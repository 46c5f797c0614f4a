import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pull } from '../../src/commands/pull.ts';
import { testContext } from '../support/context.ts';
import { failureIn } from '../support/hub-store.ts';
import { buildArtifact, buildImage, descriptorOf } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startRegistry } from '../support/registry.ts';

it('an image with a layer of other bytes fails, named, with what to do, and the one beside it comes', async () => {
  await using place = await temporaryDirectory();
  const registry = await startRegistry();
  const bad = buildImage({ seed: 'bad' });
  registry.put('team/bad', bad, 'v1');
  registry.put('team/good', buildImage({ seed: 'good' }), 'v1');
  const [layer = ''] = [...bad.blobs.keys()];
  registry.server.faults = ({ path }) => (path.includes(layer) ? { kind: 'flip', at: 1 } : undefined);
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'x' },
    images: ['bad', 'good'].map((name) => ({ ref: `${registry.host}/team/${name}:v1`, to: name })),
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const { context } = await testContext({ cwd: place.path, insecureHosts: [registry.host] });
  try {
    const report = await pull({ manifest: 'm.yaml', store: 'store' }, context);

    expect(report.items.map(({ state }) => state).sort()).toEqual(['done', 'failed']);
    const { error } = failureIn(report);
    expect([error?.code, error?.at.side]).toEqual(['E_DIGEST_MISMATCH', 'source']);
    expect(error?.hint).toContain('pushed there again');
  } finally {
    await context.close();
    await registry.close();
  }
});

it('an image comes without a referrer that its source has lost, which is named', async () => {
  await using place = await temporaryDirectory();
  const registry = await startRegistry();
  const image = buildImage({ seed: 'signed' });
  const lost = buildArtifact({ seed: 'lost', subject: descriptorOf(image) });
  registry.put('team/app', image, 'v1');
  registry.put('team/app', lost);
  registry.remove('team/app', [...lost.blobs.keys()].at(-1) ?? '');
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'x' },
    images: [{ ref: `${registry.host}/team/app:v1`, to: 'app' }],
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const { context } = await testContext({ cwd: place.path, insecureHosts: [registry.host] });
  try {
    const report = await pull({ manifest: 'm.yaml', store: 'store' }, context);

    expect(report.exit).toBe(3);
    expect(report.items).toMatchObject([
      { kind: 'image', state: 'done', digest: image.digest },
      {
        kind: 'referrers',
        state: 'failed',
        detail: { names: [lost.digest] },
        error: { code: 'E_NOT_FOUND', at: { side: 'source' } },
      },
    ]);
  } finally {
    await context.close();
    await registry.close();
  }
});

it('a foreign layer that stays with its owner is said, and counted', async () => {
  await using place = await temporaryDirectory();
  const registry = await startRegistry();
  const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
  const layers = [{ mediaType, bytes: Buffer.from('windows'), urls: ['https://owner.invalid/layer'] }];
  registry.put('team/windows', buildArtifact({ seed: 'windows', layers }), 'v1');
  const manifest = {
    apiVersion: 'sie-mirror/v1',
    kind: 'MirrorManifest',
    metadata: { name: 'x' },
    images: [{ ref: `${registry.host}/team/windows:v1`, to: 'windows' }],
  };
  await writeFile(join(place.path, 'm.yaml'), JSON.stringify(manifest));
  const { context, events } = await testContext({ cwd: place.path, insecureHosts: [registry.host] });
  try {
    const report = await pull({ manifest: 'm.yaml', store: 'store' }, context);

    expect(report.items[0]?.detail).toMatchObject({ foreign: { count: 1, bytes: 7 } });
    const told = events.flatMap((event) => (event.type === 'warning' ? event.text : []));
    expect(told).toEqual([expect.stringContaining('1 foreign layer')]);
  } finally {
    await context.close();
    await registry.close();
  }
});
