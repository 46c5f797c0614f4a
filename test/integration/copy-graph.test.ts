import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { type Digest, digestHex } from '../../src/core/digest.ts';
import { toMirrorError } from '../../src/core/errors.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { WritableLayout, WritableView } from '../../src/oci/layout/layout.ts';
import { copyTag, copyUser, withPair } from '../support/copying.ts';
import { digestOf } from '../support/digest.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { missingAt, putGraph, sampleGraph, subjectOf, type TestGraph, testGraph } from '../support/graphs.ts';
import { buildImage, buildIndex, type BuiltImage } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import type { RegistryOptions, TestRegistry } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { FaultPlan, RequestRecord } from '../support/server.ts';

const repository = 'team/app';
const tag = 'v1';

async function expectFound(to: ContentTarget, subject: Descriptor, referrer: BuiltImage): Promise<void> {
  expect((await to.referrers(subject)).map(({ digest }) => digest)).toContain(referrer.digest);
}

const writesOf = (zone: TestRegistry): RequestRecord[] =>
  zone.server.requests.filter(({ method }) => method === 'PUT' || method === 'POST' || method === 'PATCH');

describe('any graph', () => {
  const kinds: [string, { source?: RegistryOptions; zone?: RegistryOptions }][] = [
    ['between open registries', {}],
    ['to a registry without a referrers API', { source: { redirectBlobs: true }, zone: { referrers: false } }],
    [
      'from a registry without a referrers API, with tokens',
      {
        source: { referrers: false, auth: { kind: 'bearer', ...copyUser } },
        zone: { auth: { kind: 'basic', ...copyUser } },
      },
    ],
    [
      'with small pages and absolute locations',
      { source: { pageSize: 1 }, zone: { location: 'absolute', pageSize: 1 } },
    ],
  ];

  it.each(kinds)('arrives whole, children before parents and the tag last: %s', async (_, options) => {
    await fc.assert(
      fc.asyncProperty(testGraph, async (graph) => {
        await withPair(options, async ({ source, zone, to, copy }) => {
          putGraph(source, repository, graph, tag, options.source?.referrers === false);
          source.put(repository, buildImage({ seed: 'unrelated' }), 'unrelated');

          await copy(tag);

          expect(missingAt(zone, repository, tag, graph)).toEqual([]);
          // The registry refuses a manifest whose children are not there.
          expect(writesOf(zone).filter(({ status }) => status >= 400 && status !== 401)).toEqual([]);
          expect(writesOf(zone).at(-1)?.path).toBe(`/v2/${repository}/manifests/${tag}`);
          expect(zone.manifest(repository, buildImage({ seed: 'unrelated' }).digest)).toBeUndefined();
          expect(zone.openUploads).toBe(0);
          for (const { image } of graph.extras) {
            const subject = subjectOf(image);
            if (subject) await expectFound(to, subject, image);
          }
        });
      }),
      { seed: 11, numRuns: 8 },
    );
  });

  it('moves nothing the second time', async () => {
    await fc.assert(
      fc.asyncProperty(testGraph, async (graph) => {
        await withPair({}, async ({ source, zone, copy }) => {
          putGraph(source, repository, graph, tag);
          await copy(tag);
          const [writes, reads] = [writesOf(zone).length, source.server.count(/^GET .*\/blobs\//)];

          const tally = await copy(tag);

          expect(tally.copied).toBe(0);
          expect(writesOf(zone)).toHaveLength(writes);
          expect(source.server.count(/^GET .*\/blobs\//)).toBe(reads);
        });
      }),
      { seed: 12, numRuns: 5 },
    );
  });

  it('goes to a layout and on to a registry', async () => {
    await fc.assert(
      fc.asyncProperty(testGraph, async (graph) => {
        await using place = await temporaryDirectory();
        await withPair({ zone: { referrers: false } }, async ({ source, zone, from, to }) => {
          putGraph(source, repository, graph, tag);
          const layout = new WritableView(await WritableLayout.open(place.path), 'any.example/team/app');
          await copyTag(from, layout, tag);
          const again = new WritableView(await WritableLayout.open(place.path), 'any.example/team/app');

          await copyTag(again, to, tag);

          expect(missingAt(zone, repository, tag, graph)).toEqual([]);
        });
      }),
      { seed: 13, numRuns: 8 },
    );
  });

  it('is the same in the end when it is interrupted anywhere and run again', async () => {
    const broken: string[] = [];
    await fc.assert(
      fc.asyncProperty(testGraph, fc.integer({ min: 1, max: 60 }), async (graph, at) => {
        await withPair({}, async ({ source, zone, copy }) => {
          putGraph(source, repository, graph, tag);
          const controller = new AbortController();
          let seen = 0;
          const count: FaultPlan = () => {
            seen += 1;
            if (seen === at) controller.abort();
            return undefined;
          };
          source.server.faults = count;
          zone.server.faults = count;

          const outcome = await copy(tag, { signal: controller.signal }).then(
            () => 'done',
            (error: unknown) => toMirrorError(error).code,
          );

          expect(['done', 'E_ABORTED']).toContain(outcome);
          // Nothing is found under the tag that is not whole.
          if (zone.tags(repository).includes(tag))
            broken.push(...missingAt(zone, repository, tag, { ...graph, extras: [] }));
          await copy(tag);
          expect(missingAt(zone, repository, tag, graph)).toEqual([]);
        });
      }),
      { seed: 14, numRuns: 20 },
    );
    expect(broken).toEqual([]);
  });
});

describe('a target that says that it has what it has not', () => {
  const lies = (pattern: RegExp): FaultPlan => {
    const told = new Set<string>();
    return ({ method, path }) => {
      if (method !== 'HEAD' || !pattern.test(path) || told.has(path)) return undefined;
      told.add(path);
      return { kind: 'status', status: 200 };
    };
  };

  it.each<[string, (graph: TestGraph) => RegExp]>([
    [
      'of manifests of an index',
      ({ root }) => new RegExp([...root.manifests.keys()].filter((digest) => digest !== root.digest).join('|')),
    ],
    ['of blobs', () => /\/blobs\//],
    ['of all but the root', ({ root }) => new RegExp(`/blobs/|manifests/sha256:(?!${root.digest.slice(7)})`)],
  ])('gets it after all: %s', async (_, pattern) => {
    await withPair({}, async ({ source, zone, copy }) => {
      const graph = sampleGraph();
      putGraph(source, repository, graph, tag);
      zone.server.faults = lies(pattern(graph));

      await copy(tag);

      expect(missingAt(zone, repository, tag, graph)).toEqual([]);
    });
  });

  it('gets it after all when something was deleted and only the tag was left to set', async () => {
    await withPair({}, async ({ source, zone, copy }) => {
      const graph = sampleGraph();
      putGraph(source, repository, graph, tag);
      const { digest, mediaType, bytes } = graph.root;
      zone.put(repository, { ...graph.root, manifests: new Map([[digest, { mediaType, bytes }]]) });

      await copy(tag);

      expect(missingAt(zone, repository, tag, graph)).toEqual([]);
    });
  });
});

describe('hostile images', () => {
  it('that name one child a thousand times on each of twelve levels are read and copied once', async () => {
    await withPair({}, async ({ source, zone, copy }) => {
      let root = buildImage({ seed: 'bottom', layerBytes: 10 });
      for (let level = 0; level < 12; level += 1) {
        const child = root;
        // Built by hand: the builder would carry a thousand copies of everything below.
        root = {
          ...buildIndex({
            children: Array.from({ length: 1000 }, () => ({ ...child, blobs: new Map(), manifests: new Map() })),
          }),
        };
        root.blobs = child.blobs;
        root.manifests = new Map([...child.manifests, [root.digest, { mediaType: root.mediaType, bytes: root.bytes }]]);
      }
      source.put(repository, root, tag);

      const tally = await copy(tag);

      expect(tally.copied).toBe(13 + root.blobs.size);
      expect(missingAt(zone, repository, tag, { root, extras: [] })).toEqual([]);
    });
  });

  it('that nest without end are refused', async () => {
    await withPair({}, async ({ source, zone, copy }) => {
      let root = buildImage({ seed: 'bottom' });
      for (let level = 0; level < 20; level += 1) root = buildIndex({ children: [root] });
      source.put(repository, root, tag);

      expect(await codeOf(copy(tag))).toBe('E_CORRUPT');
      expect(writesOf(zone)).toEqual([]);
    });
  });

  it.each<[string, Uint8Array, string]>([
    ['no JSON', Buffer.from('{'), 'E_CORRUPT'],
    ['docker schema 1', Buffer.from('{"schemaVersion":1}'), 'E_PROTOCOL'],
  ])('that are %s are refused, and the source is blamed', async (_, bytes, code) => {
    await withPair({}, async ({ source, zone, copy }) => {
      const image = buildImage({ seed: 1 });
      const broken = { ...buildIndex({ children: [{ ...image, bytes, digest: digestOf(bytes) }] }) };
      broken.manifests.set(digestOf(bytes), { mediaType: image.mediaType, bytes });
      source.put(repository, broken, tag);

      const error = await failureOf(copy(tag));

      expect([error.code, error.at.side]).toEqual([code, 'source']);
      expect(writesOf(zone)).toEqual([]);
    });
  });
});

it('blames the source for what is wrong in a layout', async () => {
  await using place = await temporaryDirectory();
  await withPair({}, async ({ source, zone, from, to }) => {
    const graph = sampleGraph();
    putGraph(source, repository, graph, tag);
    const view = new WritableView(await WritableLayout.open(place.path), '');
    await copyTag(from, view, tag);
    const [blob = ''] = graph.root.blobs.keys();
    const path = join(place.path, 'blobs/sha256', digestHex(blob as Digest));
    const bytes = await readFile(path);
    await writeFile(path, seededBytes('damaged', bytes.length));

    const error = await failureOf(copyTag(view, to, tag));

    expect([error.code, error.at.side]).toEqual(['E_DIGEST_MISMATCH', 'source']);
    expect(zone.tags(repository)).toEqual([]);
  });
});

it('never sends credentials to where blobs are redirected', async () => {
  const auth = { kind: 'bearer', ...copyUser } as const;
  await withPair(
    { source: { auth, redirectBlobs: true }, zone: { auth: { kind: 'basic', ...copyUser } } },
    async ({ source, zone, copy }) => {
      const graph = sampleGraph();
      putGraph(source, repository, graph, tag);

      await copy(tag);

      expect(missingAt(zone, repository, tag, graph)).toEqual([]);
      expect(source.cdn.requests.length).toBeGreaterThan(3);
      const told = JSON.stringify(source.cdn.requests.map(({ path, headers }) => [path, headers]));
      expect(source.cdn.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
      expect(told).not.toContain(copyUser.password);
      expect(told).not.toContain(Buffer.from(`${copyUser.user}:${copyUser.password}`).toString('base64'));
      const tokens = source.server.requests.flatMap(
        ({ headers }) => /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? [],
      );
      expect(tokens.filter((token) => told.includes(token))).toEqual([]);
      expect(tokens.length).toBeGreaterThan(0);
    },
  );
});
