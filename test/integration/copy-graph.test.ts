import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { type Digest, digestHex } from '../../src/core/digest.ts';
import { toMirrorError } from '../../src/core/errors.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { WritableLayout, WritableView } from '../../src/oci/layout.ts';
import { type CopyPair, copyRetry, copyTag, copyUser, startPair } from '../support/copying.ts';
import { digestOf } from '../support/digest.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { partsOf, putGraph, subjectOf, type TestGraph, testGraph } from '../support/graphs.ts';
import { buildArtifact, buildImage, buildIndex, type BuiltImage, descriptorOf } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import type { RegistryOptions, TestRegistry } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { Fault, FaultPlan, RequestRecord } from '../support/server.ts';

const repository = 'team/app';
const tag = 'v1';

/** What is not there byte for byte, or not under its tag. */
function missingAt(zone: TestRegistry, graph: TestGraph): string[] {
  const { manifests, blobs } = partsOf(graph);
  const same = (found: Uint8Array | undefined, wanted: Uint8Array): boolean =>
    found !== undefined && Buffer.from(found).equals(wanted);
  const tags = [{ tag, image: graph.root }, ...graph.extras];
  return [
    ...[...manifests].filter(([digest, bytes]) => !same(zone.manifest(repository, digest)?.bytes, bytes)),
    ...[...blobs].filter(([digest, bytes]) => !same(zone.blob(repository, digest), bytes)),
    ...tags.filter((each) => zone.manifest(repository, each.tag ?? each.image.digest)?.digest !== each.image.digest),
  ].map((each) => JSON.stringify(each).slice(0, 100));
}

async function expectFound(to: ContentTarget, subject: Descriptor, referrer: BuiltImage): Promise<void> {
  expect((await to.referrers(subject)).map(({ digest }) => digest)).toContain(referrer.digest);
}

const writesOf = (zone: TestRegistry): RequestRecord[] =>
  zone.server.requests.filter(({ method }) => method === 'PUT' || method === 'POST' || method === 'PATCH');

async function withPair(
  options: Parameters<typeof startPair>[0],
  work: (pair: CopyPair) => Promise<void>,
): Promise<void> {
  const pair = await startPair(options);
  try {
    await work(pair);
  } finally {
    await pair.close();
  }
}

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

          expect(missingAt(zone, graph)).toEqual([]);
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

          expect(missingAt(zone, graph)).toEqual([]);
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
          if (zone.tags(repository).includes(tag)) broken.push(...missingAt(zone, { ...graph, extras: [] }));
          await copy(tag);
          expect(missingAt(zone, graph)).toEqual([]);
        });
      }),
      { seed: 14, numRuns: 20 },
    );
    expect(broken).toEqual([]);
  });
});

/** Two platforms with a layer in common, and an SBOM. */
function sample(): TestGraph {
  const children = [1, 2].map((seed) => buildImage({ seed, layers: 2, layerBytes: 60_000 }));
  const root = buildIndex({ children });
  return {
    root,
    extras: [
      { image: buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(root) }) },
    ],
  };
}

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
      const graph = sample();
      putGraph(source, repository, graph, tag);
      zone.server.faults = lies(pattern(graph));

      await copy(tag);

      expect(missingAt(zone, graph)).toEqual([]);
    });
  });

  it('gets it after all when something was deleted and only the tag was left to set', async () => {
    await withPair({}, async ({ source, zone, copy }) => {
      const graph = sample();
      putGraph(source, repository, graph, tag);
      const { digest, mediaType, bytes } = graph.root;
      zone.put(repository, { ...graph.root, manifests: new Map([[digest, { mediaType, bytes }]]) });

      await copy(tag);

      expect(missingAt(zone, graph)).toEqual([]);
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
      expect(missingAt(zone, { root, extras: [] })).toEqual([]);
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

const blobGet = /^GET .*\/blobs\//;
const manifestGet = /^GET .*\/manifests\//;
const any = /./;
const upload = /^(?:POST|PUT) .*\/blobs\/uploads\//;
const manifestPut = /^PUT .*\/manifests\//;

/** Damages the first requests that match, each path for itself. */
function firstOfEach(pattern: RegExp, faults: readonly Fault[]): FaultPlan {
  const seen = new Map<string, number>();
  return ({ method, path }) => {
    const [route = '', query = ''] = path.split('?');
    // Each try of an upload has an address of its own; what it is for stands in the query.
    const place = `${method} ${/digest=([^&]+)/.exec(query)?.[1] ?? route}`;
    if (!pattern.test(`${method} ${route}`)) return undefined;
    const times = seen.get(place) ?? 0;
    seen.set(place, times + 1);
    return faults[times];
  };
}

const always =
  (pattern: RegExp, fault: Fault): FaultPlan =>
  ({ method, path }) =>
    pattern.test(`${method} ${path}`) ? fault : undefined;

const status = (code: number, headers: Record<string, string> = {}): Fault => ({
  kind: 'status',
  status: code,
  headers,
});
const forgotten: Fault = {
  kind: 'status',
  status: 404,
  body: JSON.stringify({ errors: [{ code: 'BLOB_UPLOAD_UNKNOWN', message: 'blob upload unknown to registry' }] }),
};
const past = 'Wed, 21 Oct 2015 07:28:00 GMT';

describe('faults that pass', () => {
  it.each<[string, 'source' | 'zone', RegExp, Fault[]]>([
    ['a reset before the first byte', 'source', blobGet, [{ kind: 'reset', after: 0 }]],
    [
      'resets in the middle',
      'source',
      blobGet,
      [
        { kind: 'reset', after: 100 },
        { kind: 'reset', after: 200 },
      ],
    ],
    ['an early end', 'source', blobGet, [{ kind: 'truncate', after: 1000 }]],
    ['a stall', 'source', blobGet, [{ kind: 'stall', after: 300 }]],
    ['bursts of 503', 'source', any, [status(503), status(502), status(500)]],
    [
      '429 with a time to wait',
      'source',
      any,
      [status(429, { 'retry-after': '0' }), status(429, { 'retry-after': past })],
    ],
    ['408 and 504', 'source', any, [status(408), status(504)]],
    ['bursts of 503 at the target', 'zone', any, [status(503), status(502), status(500)]],
    ['429 at the target', 'zone', any, [status(429, { 'retry-after': '0' }), status(429)]],
    ['uploads that the target forgets', 'zone', /^PUT .*\/uploads\//, [forgotten, forgotten]],
  ])('end in success: %s', async (_, side, pattern, faults) => {
    await withPair({ stallMs: 100 }, async (pair) => {
      const graph = sample();
      putGraph(pair.source, repository, graph, tag);
      pair[side].server.faults = firstOfEach(pattern, faults);

      await pair.copy(tag);

      expect(missingAt(pair.zone, graph)).toEqual([]);
    });
  });

  it('go on from the byte that was reached', async () => {
    await withPair({}, async ({ source, zone, copy }) => {
      const image = buildArtifact({
        seed: 1,
        layers: [{ mediaType: 'application/x', bytes: seededBytes('big', 1_000_000) }],
      });
      source.put(repository, image, tag);
      source.server.faults = firstOfEach(blobGet, [
        { kind: 'reset', after: 300_000 },
        { kind: 'reset', after: 300_000 },
      ]);

      await copy(tag);

      expect(missingAt(zone, { root: image, extras: [] })).toEqual([]);
      const sent = source.server.requests
        .filter(({ path }) => path.includes('/blobs/'))
        .map(({ sent: bytes }) => bytes);
      expect(Math.max(...sent.slice(1))).toBeLessThan(1_000_000);
      expect(zone.server.count(/^POST /)).toBe(2);
    });
  });

  it('are tokens that expire at any time, on both sides', async () => {
    const auth = { kind: 'bearer', ...copyUser } as const;
    await withPair({ source: { auth, redirectBlobs: true }, zone: { auth } }, async ({ source, zone, copy }) => {
      const graph = sample();
      putGraph(source, repository, graph, tag);
      const expiring = (registry: TestRegistry, pattern: RegExp): FaultPlan => {
        const seen = new Set<string>();
        return ({ method, path }) => {
          const place = `${method} ${path}`;
          if (pattern.test(path) && !seen.has(place)) registry.expireTokens();
          seen.add(place);
          return undefined;
        };
      };
      source.server.faults = expiring(source, /\/blobs\//);
      zone.server.faults = expiring(zone, /^\/v2\//);

      // One after the other, so that no request meets the expiry of another one over and over.
      await copy(tag, { slots: 1 });

      expect(missingAt(zone, graph)).toEqual([]);
    });
  });
});

describe('tokens that end much faster than was said', () => {
  const auth = { kind: 'bearer', ...copyUser } as const;

  it('are renewed as long as others get through with them', async () => {
    await withPair({ source: { auth }, zone: { auth } }, async ({ source, zone, copy }) => {
      const image = buildImage({ seed: 'many', layers: 24 });
      source.put(repository, image, tag);
      for (const registry of [source, zone]) {
        let count = 0;
        registry.server.faults = () => {
          count += 1;
          if (count % 7 === 0) registry.expireTokens();
          return undefined;
        };
      }

      await copy(tag);

      expect(missingAt(zone, { root: image, extras: [] })).toEqual([]);
    });
  });

  it('are given up where none is ever taken for what is to be done', async () => {
    await withPair({ zone: { auth } }, async ({ source, zone, copy }) => {
      const image = buildImage({ seed: 'one', layers: 1 });
      source.put(repository, image, tag);
      zone.server.faults = ({ method, path }) => {
        if (method === 'POST' && path.includes('/uploads/')) zone.expireTokens();
        return undefined;
      };

      expect(await codeOf(copy(tag))).toBe('E_AUTH');

      expect(zone.server.count(/^POST /)).toBeLessThanOrEqual(2 * 6);
    });
  });
});

describe('faults that stay', () => {
  it.each<[string, 'source' | 'zone', RegExp, Fault, string]>([
    ['resets before the first byte', 'source', blobGet, { kind: 'reset', after: 0 }, 'E_NETWORK'],
    ['resets at one byte', 'source', blobGet, { kind: 'reset', after: 100 }, 'E_NETWORK'],
    ['a wrong bit in a blob', 'source', blobGet, { kind: 'flip', at: 50 }, 'E_DIGEST_MISMATCH'],
    ['a wrong bit in a manifest', 'source', manifestGet, { kind: 'flip', at: 50 }, 'E_DIGEST_MISMATCH'],
    ['503', 'source', blobGet, status(503), 'E_REMOTE'],
    ['503 for manifests', 'source', manifestGet, status(503), 'E_REMOTE'],
    ['429 with longer to wait than we may', 'source', blobGet, status(429, { 'retry-after': '9999' }), 'E_RATE_LIMIT'],
    ['401', 'source', blobGet, status(401), 'E_AUTH'],
    ['403', 'source', any, status(403), 'E_AUTH'],
    ['404 of a blob', 'source', blobGet, status(404), 'E_NOT_FOUND'],
    [
      'a redirect without end',
      'source',
      blobGet,
      status(307, { location: '/v2/team/app/blobs/sha256:x' }),
      'E_PROTOCOL',
    ],
    ['a redirect to a file', 'source', blobGet, status(307, { location: 'file:///etc/passwd' }), 'E_PROTOCOL'],
    ['503 at the target', 'zone', upload, status(503), 'E_REMOTE'],
    ['429 at the target', 'zone', any, status(429, { 'retry-after': '9999' }), 'E_RATE_LIMIT'],
    ['403 at the target', 'zone', upload, status(403), 'E_AUTH'],
    ['413 at the target', 'zone', upload, status(413), 'E_REFUSED'],
    ['405 at the target', 'zone', upload, status(405), 'E_REFUSED'],
    ['503 for manifests at the target', 'zone', manifestPut, status(503), 'E_REMOTE'],
    ['507 at the target', 'zone', upload, status(507), 'E_REMOTE'],
  ])(
    'end in the documented code, at the right side, with nothing under the tag: %s',
    async (_, side, pattern, fault, code) => {
      await withPair({ stallMs: 100 }, async (pair) => {
        const graph = sample();
        putGraph(pair.source, repository, graph, tag);
        pair[side].server.faults = always(pattern, fault);

        const error = await failureOf(pair.copy(tag));

        expect([error.code, error.at.side]).toEqual([code, side === 'zone' ? 'target' : 'source']);
        expect(pair.zone.tags(repository)).toEqual([]);
        pair[side].server.faults = undefined;
        await pair.copy(tag);
        expect(missingAt(pair.zone, graph)).toEqual([]);
      });
    },
  );

  it('are counted once: a source that stays broken is not tried again for every try of the target', async () => {
    await withPair({}, async ({ source, copy }) => {
      const image = buildArtifact({ seed: 1 });
      source.put(repository, image, tag);
      source.server.faults = always(/^GET .*\/blobs\//, { kind: 'reset', after: 0 });

      expect(await codeOf(copy(tag))).toBe('E_NETWORK');

      const tries = new Map<string, number>();
      for (const { path } of source.server.requests.filter(({ path: each }) => each.includes('/blobs/')))
        tries.set(path, (tries.get(path) ?? 0) + 1);
      expect(Math.max(...tries.values())).toBe(copyRetry.attempts);
    });
  });

  it.each<[string, RegistryOptions, string]>([
    ['a target that is read-only', { readOnly: true }, 'E_REFUSED'],
    ['a target with other credentials', { auth: { kind: 'basic', user: 'x', password: 'y' } }, 'E_AUTH'],
    ['a target with tokens for others', { auth: { kind: 'bearer', user: 'x', password: 'y' } }, 'E_AUTH'],
    ['a target that takes small blobs only', { maxUploadBytes: 100 }, 'E_REFUSED'],
  ])('are %s', async (_, zoneOptions, code) => {
    await withPair({ zone: zoneOptions }, async ({ source, zone, copy }) => {
      putGraph(source, repository, sample(), tag);

      const error = await failureOf(copy(tag));

      expect([error.code, error.at.side]).toEqual([code, 'target']);
      expect(zone.tags(repository)).toEqual([]);
    });
  });

  it.each([true, 409, 412])('are immutable tags, which stay as they were (%s)', async (immutableTags) => {
    await withPair({ zone: { immutableTags } }, async ({ source, zone, copy }) => {
      const old = buildImage({ seed: 'old' });
      zone.put(repository, old, tag);
      putGraph(source, repository, sample(), tag);

      const error = await failureOf(copy(tag));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(zone.manifest(repository, tag)?.digest).toBe(old.digest);
    });
  });

  it.each(['source', 'zone'] as const)('are a %s that is gone', async (side) => {
    const pair = await startPair();
    putGraph(pair.source, repository, sample(), tag);
    await pair[side].close();

    const error = await failureOf(pair.copy(tag));

    expect([error.code, error.at.side]).toEqual(['E_NETWORK', side === 'zone' ? 'target' : 'source']);
    await pair.close();
  });
});

it('blames the source for what is wrong in a layout', async () => {
  await using place = await temporaryDirectory();
  await withPair({}, async ({ source, zone, from, to }) => {
    const graph = sample();
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
      const graph = sample();
      putGraph(source, repository, graph, tag);

      await copy(tag);

      expect(missingAt(zone, graph)).toEqual([]);
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
