import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { contentOf } from '../../src/core/stream.ts';
import { blobOf } from '../support/contents.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  descriptorOf,
  fallbackTag,
} from '../support/images.ts';
import { type Pushing, withRegistry } from '../support/pushing.ts';

const repository = 'team/app';
const subject = buildImage({ seed: 'subject' });
const nameOf = (built: BuiltImage): Descriptor => descriptorOf(built) as Descriptor;
const referrer = (seed: number): BuiltImage =>
  buildArtifact({ seed, artifactType: `application/x.kind-${seed}`, subject: descriptorOf(subject) });
const tag = fallbackTag(subject.digest);

async function push(target: ContentTarget, built: BuiltImage): Promise<void> {
  for (const bytes of built.blobs.values()) await target.push(blobOf(bytes), contentOf(bytes));
  await target.push(nameOf(built), contentOf(built.bytes));
}

/** What the index behind the fallback tag lists. */
function listed({ registry }: Pushing): Descriptor[] {
  const index = registry.manifest(repository, tag);
  return (JSON.parse(Buffer.from(index?.bytes ?? '{"manifests":[]}').toString()) as { manifests: Descriptor[] })
    .manifests;
}

const digests = (descriptors: readonly { digest: string }[]): string[] =>
  descriptors.map(({ digest }) => digest).toSorted();

describe('a registry without a referrers API', () => {
  it('is asked for it once', async () => {
    await withRegistry({ referrers: false }, async ({ target, once, log, registry }) => {
      const subjects = [1, 2, 3, 4].map((seed) => buildImage({ seed }));
      for (const each of subjects) registry.put(repository, each);

      await Promise.all(subjects.map((each) => target().referrers(nameOf(each))));
      await once('other', 'source').referrers(nameOf(subject));

      expect(log().filter((line) => line.includes('/referrers/'))).toHaveLength(1);
    });
  });

  it('is not asked for a tag that it has not listed', async () => {
    await withRegistry({ referrers: false }, async ({ once, log, registry }) => {
      const [plain, signed] = [buildImage({ seed: 'plain' }), subject];
      for (const each of [plain, signed, referrer(1)]) registry.put(repository, each);
      registry.put(repository, buildIndex({ children: [referrer(1)] }), tag);
      const source = once(repository, 'source');
      await source.tags();

      expect(await source.referrers(nameOf(plain))).toEqual([]);
      expect(digests(await source.referrers(nameOf(signed)))).toEqual([referrer(1).digest]);

      expect(log().filter((line) => line.includes('/manifests/'))).toEqual([`GET ${repository}/manifests/DIGEST`]);
    });
  });

  it('is asked for tags of a target again, which may have changed', async () => {
    await withRegistry({ referrers: false }, async ({ target, registry }) => {
      registry.put(repository, subject, 'v1');
      const to = target();
      await to.tags();
      await push(to, referrer(1));
      await to.attach(nameOf(subject), [nameOf(referrer(1))]);

      expect(digests(await to.referrers(nameOf(subject)))).toEqual([referrer(1).digest]);
    });
  });

  it('keeps the entries of others as they are, and lists each once', async () => {
    await withRegistry({ referrers: false }, async (pushing) => {
      const { registry, target } = pushing;
      for (const each of [subject, referrer(1), referrer(2)]) registry.put(repository, each);
      const foreign = { ...nameOf(referrer(1)), annotations: { by: 'others' }, 'x-unknown': { kept: true } };
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          annotations: { of: 'index' },
          manifests: [foreign],
        }),
      );
      const index = { ...buildIndex({ children: [] }), bytes, blobs: new Map(), manifests: new Map() };
      const { mediaType } = index;
      registry.put(
        repository,
        { ...index, digest: 'sha256:x', manifests: new Map([['sha256:x', { mediaType, bytes }]]) },
        tag,
      );

      await target().attach(nameOf(subject), [nameOf(referrer(1)), nameOf(referrer(2)), nameOf(referrer(2))]);

      expect(listed(pushing)).toEqual([foreign, nameOf(referrer(2))]);
      const text = Buffer.from(registry.manifest(repository, tag)?.bytes ?? '').toString();
      expect(JSON.parse(text)).toMatchObject({ annotations: { of: 'index' } });
    });
  });

  it('gets the index once more when another process has written over it', async () => {
    await withRegistry({ referrers: false }, async (pushing) => {
      const { registry, target } = pushing;
      for (const each of [subject, referrer(1), referrer(2)]) registry.put(repository, each);
      let times = 0;
      registry.server.faults = ({ method, path }) => {
        // Between our write and our look at it somebody writes what he had read before.
        if (method === 'GET' && path.endsWith(tag) && ++times === 2)
          registry.put(repository, buildIndex({ children: [referrer(2)] }), tag);
        return undefined;
      };

      await target().attach(nameOf(subject), [nameOf(referrer(1))]);

      expect(digests(listed(pushing))).toEqual(digests([referrer(1), referrer(2)]));
    });
  });

  it.each<[string, BuiltImage]>([
    ['an image', buildImage({ seed: 'somebody needs this' })],
    ['a docker list', buildIndex({ children: [buildImage({ seed: 1, docker: true })], docker: true })],
  ])('keeps %s that is called as the index would be', async (_, precious) => {
    await withRegistry({ referrers: false }, async ({ registry, target }) => {
      for (const each of [subject, referrer(1)]) registry.put(repository, each);
      registry.put(repository, precious, tag);

      const error = await failureOf(target().attach(nameOf(subject), [nameOf(referrer(1))]));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.hint).toContain('--no-referrers');
      expect(registry.manifest(repository, tag)?.digest).toBe(precious.digest);
      expect(await target().referrers(nameOf(subject))).toEqual([]);
    });
  });

  it('that gives the subject itself for the tag has nothing listed and nothing written over', async () => {
    await withRegistry({ referrers: false, digestTagIsSubject: true }, async ({ registry, target }) => {
      for (const each of [subject, referrer(1)]) registry.put(repository, each);

      expect(await target().referrers(nameOf(subject))).toEqual([]);
      expect(await codeOf(target().attach(nameOf(subject), [nameOf(referrer(1))]))).toBe('E_REFUSED');

      expect(registry.tags(repository)).toEqual([]);
      expect(registry.server.count(/^PUT/)).toBe(0);
    });
  });
});

describe('a registry with a referrers API', () => {
  it('lists by itself: no tag is written', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      registry.put(repository, subject, 'v1');
      await push(target(), referrer(1));

      await target().attach(nameOf(subject), [nameOf(referrer(1))]);

      expect(registry.tags(repository)).toEqual(['v1']);
    });
  });

  it('whose API cannot be reached is believed when it says that it has listed a referrer', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      registry.put(repository, subject, 'v1');
      registry.server.faults = ({ path }) =>
        path.includes('/referrers/') ? { kind: 'status', status: 404, body: 'not found' } : undefined;
      const to = target();
      await push(to, referrer(1));

      await to.attach(nameOf(subject), [nameOf(referrer(1))]);

      expect(registry.tags(repository)).toEqual(['v1']);
    });
  });

  it('is asked again after a repository was not found', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      let first = true;
      registry.server.faults = ({ path }) => {
        if (!first || !path.includes('/referrers/')) return undefined;
        first = false;
        const body = JSON.stringify({ errors: [{ code: 'NAME_UNKNOWN', message: 'repository unknown' }] });
        return { kind: 'status', status: 404, body };
      };
      registry.put(repository, referrer(1));

      expect(await target().referrers(nameOf(subject))).toEqual([]);
      expect(digests(await target().referrers(nameOf(subject)))).toEqual([referrer(1).digest]);
    });
  });
});
