import { describe, expect, it } from 'vitest';
import { blobOf, collect } from '../support/contents.ts';
import { copyRetry, copyUser, startPair, withPair } from '../support/copying.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { firstOfEach } from '../support/first-of-each.ts';
import { missingAt, putGraph, sampleGraph } from '../support/graphs.ts';
import { buildArtifact, buildImage } from '../support/images.ts';
import type { RegistryOptions, TestRegistry } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { Fault, FaultPlan } from '../support/server.ts';

const repository = 'team/app';
const tag = 'v1';

const blobGet = /^GET .*\/blobs\//;
const manifestGet = /^GET .*\/manifests\//;
const any = /./;
const upload = /^(?:POST|PUT) .*\/blobs\/uploads\//;
const manifestPut = /^PUT .*\/manifests\//;

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
      const graph = sampleGraph();
      putGraph(pair.source, repository, graph, tag);
      pair[side].server.faults = firstOfEach(pattern, faults);

      await pair.copy(tag);

      expect(missingAt(pair.zone, repository, tag, graph)).toEqual([]);
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

      expect(missingAt(zone, repository, tag, { root: image, extras: [] })).toEqual([]);
      const sent = source.server.requests
        .filter(({ path }) => path.includes('/blobs/'))
        .map(({ sent: bytes }) => bytes);
      expect(Math.max(...sent.slice(1))).toBeLessThan(1_000_000);
      expect(zone.server.count(/^POST /)).toBe(2);
    });
  });

  it.each<[string, Fault]>([
    ['416', status(416)],
    ['400', status(400)],
    ['501', status(501)],
    ['another part', { kind: 'status', status: 206, headers: { 'content-range': 'bytes 0-4/1000000' }, body: 'other' }],
    ['a part that it does not name', { kind: 'status', status: 206, body: 'other' }],
  ])('go on from the start where a range is answered with %s', async (_, refusal) => {
    await withPair({}, async ({ source, from }) => {
      const bytes = seededBytes('big', 1_000_000);
      source.put(repository, buildArtifact({ seed: 1, layers: [{ mediaType: 'application/x', bytes }] }), tag);
      const cut = firstOfEach(/./, [{ kind: 'reset', after: 300_000 }]);
      source.server.faults = (request) => (request.headers.range === undefined ? cut(request) : refusal);

      const content = await from.fetch(blobOf(bytes));

      expect((await collect(content.open(0))).equals(bytes)).toBe(true);
    });
  });

  it('go on at a new address where the signed one has ended by then', async () => {
    await withPair({ source: { redirectBlobs: true } }, async ({ source, from }) => {
      const bytes = seededBytes('big', 1_000_000);
      const image = buildArtifact({ seed: 1, layers: [{ mediaType: 'application/x', bytes }] });
      source.put(repository, image, tag);
      source.cdn.faults = firstOfEach(/./, [{ kind: 'reset', after: 300_000 }]);
      source.server.faults = () => {
        source.expireRedirects();
        return undefined;
      };

      const content = await from.fetch(blobOf(bytes));

      expect((await collect(content.open(0))).equals(bytes)).toBe(true);
      const sent = source.cdn.requests.map((request) => request.sent);
      expect(sent).toHaveLength(2);
      expect(sent[1]).toBeLessThan(1_000_000);
    });
  });

  it('are tokens that expire at any time, on both sides', async () => {
    const auth = { kind: 'bearer', ...copyUser } as const;
    await withPair({ source: { auth, redirectBlobs: true }, zone: { auth } }, async ({ source, zone, copy }) => {
      const graph = sampleGraph();
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

      expect(missingAt(zone, repository, tag, graph)).toEqual([]);
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

      expect(missingAt(zone, repository, tag, { root: image, extras: [] })).toEqual([]);
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
        const graph = sampleGraph();
        putGraph(pair.source, repository, graph, tag);
        pair[side].server.faults = always(pattern, fault);

        const error = await failureOf(pair.copy(tag));

        expect([error.code, error.at.side]).toEqual([code, side === 'zone' ? 'target' : 'source']);
        expect(pair.zone.tags(repository)).toEqual([]);
        pair[side].server.faults = undefined;
        await pair.copy(tag);
        expect(missingAt(pair.zone, repository, tag, graph)).toEqual([]);
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
      putGraph(source, repository, sampleGraph(), tag);

      const error = await failureOf(copy(tag));

      expect([error.code, error.at.side]).toEqual([code, 'target']);
      expect(zone.tags(repository)).toEqual([]);
    });
  });

  it.each([true, 409, 412])('are immutable tags, which stay as they were (%s)', async (immutableTags) => {
    await withPair({ zone: { immutableTags } }, async ({ source, zone, copy }) => {
      const old = buildImage({ seed: 'old' });
      zone.put(repository, old, tag);
      putGraph(source, repository, sampleGraph(), tag);

      const error = await failureOf(copy(tag));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(zone.manifest(repository, tag)?.digest).toBe(old.digest);
    });
  });

  it.each(['source', 'zone'] as const)('are a %s that is gone', async (side) => {
    const pair = await startPair();
    putGraph(pair.source, repository, sampleGraph(), tag);
    await pair[side].close();

    const error = await failureOf(pair.copy(tag));

    expect([error.code, error.at.side]).toEqual(['E_NETWORK', side === 'zone' ? 'target' : 'source']);
    await pair.close();
  });
});
