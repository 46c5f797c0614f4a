import { expect, it } from 'vitest';
import { copy } from '../../src/commands/copy.ts';
import { testContext } from '../support/context.ts';
import { buildImage, buildIndex } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startRegistry } from '../support/registry.ts';

it('a copy within one registry moves no blob, and does not say so', async () => {
  await using place = await temporaryDirectory();
  const registry = await startRegistry();
  const { context } = await testContext({ cwd: place.path, insecureHosts: [registry.host] });
  try {
    const image = buildIndex({ children: [1, 2].map((seed) => buildImage({ seed, layers: 3 })) });
    registry.put('team/app', image, 'v1');

    const report = await copy(
      { source: `${registry.host}/team/app:v1`, target: `${registry.host}/mirror/app:v1`, referrers: true },
      context,
    );

    expect(report.ok).toBe(true);
    expect(registry.manifest('mirror/app', 'v1')?.digest).toBe(image.digest);
    expect(registry.server.count(/^(?:PUT|PATCH) .*\/uploads\//)).toBe(0);
    expect(registry.server.count(/^GET .*\/blobs\//)).toBe(0);
    expect(registry.server.count(/^POST .*mount=/)).toBe(image.blobs.size);
    const manifestBytes = [...image.manifests.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    const blobBytes = [...image.blobs.values()].reduce((sum, bytes) => sum + bytes.length, 0);
    expect(report.items[0]).toMatchObject({
      state: 'done',
      bytes: manifestBytes,
      detail: { copied: image.manifests.size, present: image.blobs.size, presentBytes: blobBytes },
    });
  } finally {
    await context.close();
    await registry.close();
  }
});
