import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import type { Content, ContentSource, ContentTarget } from '../../src/core/ports.ts';
import { asked, withCopyWorld } from '../support/copy-command.ts';
import { type CopyPair, copyTag, startPair } from '../support/copying.ts';
import { buildArtifact, buildImage, buildIndex, type BuiltImage, descriptorOf } from '../support/images.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const repository = 'team/app';
const tag = 'v1';

async function withPair(work: (pair: CopyPair) => Promise<void>): Promise<void> {
  const pair = await startPair();
  try {
    await work(pair);
  } finally {
    await pair.close();
  }
}

/** A target that says when nothing is tagged in it. */
function telling(to: ContentTarget): ContentTarget {
  return { ...to, isEmpty: async () => (await to.tags()).length === 0 };
}

/** The same source, whose contents are opened when `gate` lets them. */
function gated(from: ContentSource, gate: (descriptor: Descriptor) => Promise<void> | undefined): ContentSource {
  const wait = (descriptor: Descriptor, content: Content): Content => ({
    size: content.size,
    async *open(offset, signal) {
      await gate(descriptor);
      yield* content.open(offset, signal);
    },
  });
  return {
    resolve: (reference) => from.resolve(reference),
    exists: (descriptor) => from.exists(descriptor),
    referrers: (subject) => from.referrers(subject),
    tags: () => from.tags(),
    fetch: async (descriptor) => wait(descriptor, await from.fetch(descriptor)),
  };
}

/** Something that others wait for. */
function signal(): { promise: Promise<void>; give: () => void } {
  let give = (): void => {};
  const promise = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { promise, give };
}

const platforms = (count: number, layers: number): BuiltImage[] =>
  Array.from({ length: count }, (_, index) =>
    buildImage({
      seed: `platform ${index}`,
      layers,
      layerBytes: 100,
      platform: { os: 'linux', architecture: `a${index}` },
    }),
  );

describe('into an empty repository', () => {
  it('small blobs cost two requests each, and an index of 8 platforms 2.1 for each blob in all', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const index = buildIndex({ children: platforms(8, 20) });
      source.put(repository, index, tag);

      await copyTag(from, telling(to), tag);

      expect(index.blobs.size).toBe(8 * 21);
      expect(zone.server.count(/^HEAD .*\/blobs\//)).toBe(0);
      expect(zone.server.requests.length).toBeLessThanOrEqual(2.1 * index.blobs.size);
      expect(zone.manifest(repository, tag)?.digest).toBe(index.digest);
    });
  });

  it('large blobs are asked for: an upload that was interrupted may have brought them', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const layer = { mediaType: 'application/x', bytes: seededBytes('large', 1024 * 1024 + 1) };
      const image = buildArtifact({ seed: 1, layers: [layer] });
      source.put(repository, image, tag);
      zone.put(repository, { ...image, manifests: new Map() });

      await copyTag(from, telling(to), tag);

      expect(source.server.count(/^GET .*\/blobs\//)).toBe(1);
      expect(zone.server.count(/^HEAD .*\/blobs\//)).toBe(1);
      expect(zone.manifest(repository, tag)?.digest).toBe(image.digest);
    });
  });

  it('a target that cannot tell is asked for each', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const index = buildIndex({ children: platforms(2, 2) });
      source.put(repository, index, tag);

      await copyTag(from, { ...to, isEmpty: () => Promise.reject(new Error('no such list')) }, tag);

      expect(zone.server.count(/^HEAD .*\/blobs\//)).toBe(index.blobs.size);
      expect(zone.manifest(repository, tag)?.digest).toBe(index.digest);
    });
  });
});

describe('side by side', () => {
  it('blobs of one platform move while the manifest of another one is still to come', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const [first, second] = platforms(2, 1) as [BuiltImage, BuiltImage];
      const index = buildIndex({ children: [first, second] });
      source.put(repository, index, tag);
      const moved = signal();
      const target: ContentTarget = {
        ...to,
        push: async (expected, content, stop) => {
          await to.push(expected, content, stop);
          if (first.blobs.has(expected.digest)) moved.give();
        },
      };

      await copyTag(
        gated(from, ({ digest }) => (digest === second.digest ? moved.promise : undefined)),
        target,
        tag,
      );

      expect(zone.manifest(repository, tag)?.digest).toBe(index.digest);
    });
  });

  it('the whole image is there while its referrers are still being looked for', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const image = buildImage({ seed: 1 });
      const sbom = buildArtifact({ seed: 2, subject: descriptorOf(image) });
      source.put(repository, image, tag);
      source.put(repository, sbom);
      const pushed = signal();
      const target: ContentTarget = {
        ...to,
        push: async (expected, content, stop) => {
          await to.push(expected, content, stop);
          if (expected.digest === image.digest) pushed.give();
        },
      };
      const slow: ContentSource = {
        ...gated(from, () => undefined),
        referrers: async (subject) => {
          await pushed.promise;
          return from.referrers(subject);
        },
      };

      await copyTag(slow, target, tag);

      expect(zone.manifest(repository, sbom.digest)).toBeDefined();
    });
  });

  it('a small blob is on its way before the target has opened an upload', async () => {
    await withPair(async ({ source, zone, from, to }) => {
      const image = buildImage({ seed: 1 });
      source.put(repository, image, tag);
      const asked = signal();
      const blobs = new Set(image.blobs.keys());
      zone.server.gate = ({ method }) => (method === 'POST' ? asked.promise : undefined);

      await copyTag(
        gated(from, ({ digest }) => {
          blobs.delete(digest);
          if (blobs.size === 0) asked.give();
          return undefined;
        }),
        to,
        tag,
      );

      expect(zone.manifest(repository, tag)?.digest).toBe(image.digest);
      expect(source.server.count(/^GET .*\/blobs\//)).toBe(image.blobs.size);
    });
  });
});

describe('when nothing has changed', () => {
  const index = buildIndex({ children: platforms(3, 2) });
  const sbom = buildArtifact({ seed: 'sbom', subject: descriptorOf(index) });
  const order = { source: `SOURCE/${repository}:${tag}`, target: `ZONE/${repository}:${tag}` };

  it('one HEAD a side is all, without referrers', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, index, tag);
      await run({ ...order, referrers: false });
      const [before, beforeAt] = [asked(source).length, asked(zone).length];

      const report = await run({ ...order, referrers: false });

      expect(asked(source).slice(before)).toEqual([`HEAD /v2/${repository}/manifests/${tag}`]);
      expect(asked(zone).slice(beforeAt)).toEqual([`HEAD /v2/${repository}/manifests/${tag}`]);
      expect(report.items[0]?.state).toBe('present');
    });
  });

  it('no blob is asked for and nothing is uploaded, with referrers', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, index, tag);
      source.put(repository, sbom);
      await run(order);
      const [before, beforeAt] = [asked(source).length, asked(zone).length];

      const report = await run(order);

      const requests = [...asked(source).slice(before), ...asked(zone).slice(beforeAt)];
      expect(requests.filter((request) => request.includes('/blobs/') || !/^(?:GET|HEAD) /.test(request))).toEqual([]);
      expect(report.items[0]).toMatchObject({ state: 'present', bytes: 0 });
    });
  });

  it('a source that names tag and digest costs one HEAD too', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, index, tag);
      const pinned = { source: `SOURCE/${repository}:${tag}@${index.digest}`, target: `ZONE/${repository}` };
      await run({ ...pinned, referrers: false });
      const before = asked(source).length;

      await run({ ...pinned, referrers: false });

      expect(asked(source).slice(before)).toEqual([`HEAD /v2/${repository}/manifests/${tag}`]);
      expect(zone.tags(repository)).toEqual([tag]);
    });
  });
});

it('copies the digest when the tag beside it has moved on, and says so', async () => {
  await withCopyWorld({}, async ({ source, zone, events, run }) => {
    const [old, now] = [buildImage({ seed: 'old' }), buildImage({ seed: 'now' })];
    source.put(repository, old);
    source.put(repository, now, tag);

    await run({ source: `SOURCE/${repository}:${tag}@${old.digest}`, target: `ZONE/${repository}` });

    expect(zone.manifest(repository, tag)?.digest).toBe(old.digest);
    expect(events.some((event) => event.type === 'note' && event.text.includes(now.digest))).toBe(true);
  });
});
