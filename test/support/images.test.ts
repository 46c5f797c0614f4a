import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { buildImage, buildIndex, cosignSignature, cosignTag, multiArch } from './images.ts';

describe('images', () => {
  it('depend on the seed alone', () => {
    const build = (seed: string): string => buildIndex({ children: [multiArch(seed), buildImage({ seed })] }).digest;

    expect(build('x')).toBe(build('x'));
    expect(build('x')).not.toBe(build('y'));
  });

  it('have layers that unpack to what the config says', () => {
    const image = buildImage({ seed: 1, layers: 1, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } });
    const [config, layer] = [...image.blobs.values()];

    const tar = gunzipSync(layer ?? '');

    expect(JSON.parse(Buffer.from(config ?? '').toString())).toMatchObject({
      os: 'linux',
      architecture: 'arm',
      variant: 'v7',
      rootfs: { diff_ids: [`sha256:${createHash('sha256').update(tar).digest('hex')}`] },
    });
  });

  it('list children before parents, nested ones too', () => {
    const inner = multiArch('m');
    const outer = buildIndex({ children: [inner, buildImage({ seed: 1 })] });
    const order = [...outer.manifests.keys()];

    expect(order).toHaveLength(5);
    expect(order.indexOf(inner.digest)).toBe(2);
    expect(order.at(-1)).toBe(outer.digest);
  });

  it('name cosign signatures by their subject', () => {
    const image = buildImage({ seed: 1 });
    const signature = cosignSignature(image);

    expect(cosignTag(image.digest)).toBe(`sha256-${image.digest.slice(7)}.sig`);
    expect([...signature.blobs.values()].some((blob) => Buffer.from(blob).includes(image.digest))).toBe(true);
  });
});
