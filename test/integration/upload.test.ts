import { describe, expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { blobOf, watchedContent } from '../support/contents.ts';
import { copyUser } from '../support/copying.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { buildArtifact } from '../support/images.ts';
import { bodies, isThere, type Pushing, withRegistry } from '../support/pushing.ts';
import type { RegistryOptions } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const small = seededBytes('small', 5000);
const large = seededBytes('large', 20 * mebi);
const tokens = { kind: 'bearer', ...copyUser } as const;
const wrong = `sha256:${'b'.repeat(64)}`;

describe('a new blob', () => {
  it('costs POST and PUT, and a token before the first of all', async () => {
    await withRegistry({ auth: tokens }, async (pushing) => {
      const target = pushing.target();

      await target.push(blobOf(small), contentOf(small));
      expect(pushing.log()).toEqual([
        'POST team/app/blobs/uploads/',
        expect.stringMatching(/^GET \/token\?/),
        'POST team/app/blobs/uploads/',
        'PUT team/app/blobs/uploads/ID?digest',
      ]);
      const other = seededBytes('other', 10);
      await target.push(blobOf(other), contentOf(other));

      expect(pushing.log()).toEqual(['POST team/app/blobs/uploads/', 'PUT team/app/blobs/uploads/ID?digest']);
      expect([isThere(pushing, small), isThere(pushing, other)]).toEqual([true, true]);
    });
  });

  it('that is empty costs no more', async () => {
    await withRegistry({}, async (pushing) => {
      const empty = Buffer.alloc(0);

      await pushing.target().push(blobOf(empty), contentOf(empty));

      expect(pushing.log()).toEqual(['POST team/app/blobs/uploads/', 'PUT team/app/blobs/uploads/ID?digest']);
    });
  });

  it('that is large is one body of known length', async () => {
    await withRegistry({}, async (pushing) => {
      await pushing.target().push(blobOf(large), watchedContent(large));

      expect(bodies(pushing)).toEqual([`PUT ${large.length} 201`]);
      expect(isThere(pushing, large)).toBe(true);
    });
  });
});

describe('a blob that another repository of the host holds', () => {
  const push = async ({ target }: Pushing, repository: string, bytes: Uint8Array): Promise<void> =>
    target(repository).push(blobOf(bytes), contentOf(bytes));

  it('is mounted with one request, whether it was pushed, seen or read there', async () => {
    await withRegistry({ auth: tokens }, async (pushing) => {
      const [pushed, seen, read] = [small, seededBytes('seen', 3000), seededBytes('read', 3000)];
      const layers = [seen, read].map((bytes) => ({ mediaType: 'application/x', bytes }));
      pushing.registry.put('from', buildArtifact({ seed: 1, layers }));
      await push(pushing, 'from', pushed);
      await pushing.once('from').exists(blobOf(seen));
      await pushing.once('from', 'source').fetch(blobOf(read));
      pushing.log();

      for (const bytes of [pushed, seen, read]) await push(pushing, 'to', bytes);

      const mount = 'POST to/blobs/uploads/?mount=DIGEST&from=from';
      expect(pushing.log()).toEqual([expect.stringMatching(/^GET \/token\?.*scope=.*&scope=/), mount, mount, mount]);
      for (const bytes of [pushed, seen, read]) expect(isThere(pushing, bytes, 'to')).toBe(true);
    });
  });

  it('is pushed through the session that a registry opens instead', async () => {
    await withRegistry({ mount: false }, async (pushing) => {
      await push(pushing, 'from', small);
      pushing.log();

      await push(pushing, 'to', small);

      expect(pushing.log()).toEqual([
        'POST to/blobs/uploads/?mount=DIGEST&from=from',
        'PUT to/blobs/uploads/ID?digest',
      ]);
      expect([isThere(pushing, small, 'to'), pushing.registry.openUploads]).toEqual([true, 0]);
    });
  });

  it.each([400, 401, 403, 404, 405])('is pushed where mounts get %i, which is tried once', async (mount) => {
    await withRegistry({ mount }, async (pushing) => {
      const second = seededBytes('second', 100);
      for (const bytes of [small, second]) await push(pushing, 'from', bytes);
      pushing.log();

      await push(pushing, 'to', small);
      await push(pushing, 'to', second);

      const log = pushing.log();
      expect(log.filter((line) => line.includes('mount='))).toHaveLength(1);
      expect(log.filter((line) => !/mount=|^GET \/?$/.test(line))).toEqual([
        'POST to/blobs/uploads/',
        'PUT to/blobs/uploads/ID?digest',
        'POST to/blobs/uploads/',
        'PUT to/blobs/uploads/ID?digest',
      ]);
      expect([isThere(pushing, small, 'to'), isThere(pushing, second, 'to')]).toEqual([true, true]);
    });
  });

  it('is pushed where there is no token for reading it, and the token for pushing stays good', async () => {
    const denied: string[] = [];
    await withRegistry({ auth: { ...tokens, denied } }, async (pushing) => {
      await push(pushing, 'from', small);
      denied.push('from');
      await push(pushing, 'to', seededBytes('first', 10));
      pushing.log();

      await push(pushing, 'to', small);

      expect(pushing.log()).toEqual([
        expect.stringMatching(/^GET \/token\?.*scope=.*&scope=/),
        'POST to/blobs/uploads/',
        'PUT to/blobs/uploads/ID?digest',
      ]);
      expect(isThere(pushing, small, 'to')).toBe(true);
    });
  });

  it('is sent when what was mounted is said to be another one', async () => {
    await withRegistry({}, async (pushing) => {
      await push(pushing, 'from', small);
      pushing.registry.server.faults = ({ path }) =>
        path.includes('mount=')
          ? { kind: 'status', status: 201, headers: { 'docker-content-digest': wrong } }
          : undefined;

      await push(pushing, 'to', small);

      expect(isThere(pushing, small, 'to')).toBe(true);
    });
  });

  it('is sent when a mount was said to be done and the blob is not known', async () => {
    await withRegistry({}, async (pushing) => {
      await push(pushing, 'from', small);
      await push(pushing, 'to', small);
      const target = pushing.target('to');
      await target.push(blobOf(small), contentOf(small));
      pushing.log();

      await target.push(blobOf(small), contentOf(small));

      expect(pushing.log()).toEqual(['POST to/blobs/uploads/', 'PUT to/blobs/uploads/ID?digest']);
    });
  });
});

describe('a registry that takes a blob and says that it has another one', () => {
  it.each(['PUT', 'PATCH'])('is refused, and both digests are named (%s)', async (method) => {
    const options: RegistryOptions = method === 'PATCH' ? { maxUploadBytes: 6 * mebi } : {};
    const bytes = seededBytes('changed', method === 'PATCH' ? 7 * mebi : 100);
    await withRegistry(options, async (pushing) => {
      const { server } = pushing.registry;
      server.faults = ({ method: asked, headers }) =>
        asked === 'PUT' && (method === 'PUT' || headers['content-length'] === '0')
          ? { kind: 'status', status: 201, headers: { 'docker-content-digest': wrong } }
          : undefined;

      const error = await failureOf(pushing.target().push(blobOf(bytes), contentOf(bytes)));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.message).toContain(wrong);
      expect(error.message).toContain(blobOf(bytes).digest);
    });
  });
});

describe('a registry that takes no large bodies', () => {
  it.each<[string, RegistryOptions, number]>([
    ['413', { maxUploadBytes: 6 * mebi }, 4 * mebi],
    ['413 from 3 MiB on', { maxUploadBytes: 3 * mebi }, 2 * mebi],
    ['413 from 1 MiB on', { maxUploadBytes: mebi }, mebi],
    ['416, as GHCR', { maxChunk: { bytes: 4 * mebi, all: true } }, 4 * mebi],
    ['201 for a chunk', { maxUploadBytes: 6 * mebi, patchStatus: 201 }, 4 * mebi],
    ['204 for a chunk', { maxUploadBytes: 6 * mebi, patchStatus: 204 }, 4 * mebi],
    ['absolute locations', { maxUploadBytes: 6 * mebi, location: 'absolute' }, 4 * mebi],
    ['a smallest chunk, told', { maxUploadBytes: 15 * mebi, minChunk: { bytes: 5 * mebi, told: true } }, 5 * mebi],
    ['a smallest chunk, not told', { maxUploadBytes: 15 * mebi, minChunk: { bytes: 5 * mebi, told: false } }, 8 * mebi],
  ])('gets chunks: %s', async (_, options, chunk) => {
    await withRegistry(options, async (pushing) => {
      const content = watchedContent(large);

      await pushing.once().push(blobOf(large), content);

      expect(isThere(pushing, large)).toBe(true);
      const taken = bodies(pushing).filter((body) => /^PATCH .* 20[124]$/.test(body));
      expect(taken).toHaveLength(Math.ceil(large.length / chunk));
      expect(taken[1]).toContain(`PATCH ${chunk}-${2 * chunk - 1} `);
      expect(bodies(pushing).at(-1)).toBe('PUT 0 201');
      expect(pushing.registry.openUploads).toBe(0);
    });
  });

  it('reads its source on and on, and not from the start for each chunk', async () => {
    await withRegistry({ maxUploadBytes: 6 * mebi }, async (pushing) => {
      const content = watchedContent(large);

      await pushing.once().push(blobOf(large), content);

      expect(content.opened).toEqual([0, 0]);
    });
  });

  it('is known for it afterwards, and small blobs still go in one body', async () => {
    await withRegistry({ maxUploadBytes: 6 * mebi }, async (pushing) => {
      await pushing.target().push(blobOf(large), contentOf(large));
      const before = bodies(pushing).length;
      const second = seededBytes('second', 20 * mebi + 1);

      await pushing.target('other').push(blobOf(second), contentOf(second));
      await pushing.target().push(blobOf(small), contentOf(small));

      expect(
        bodies(pushing)
          .slice(before)
          .filter((body) => body.endsWith(' 413')),
      ).toEqual([]);
      expect(bodies(pushing).at(-1)).toBe(`PUT ${small.length} 201`);
      expect(isThere(pushing, second, 'other')).toBe(true);
    });
  });

  it('verifies what goes in chunks', async () => {
    await withRegistry({ maxUploadBytes: 6 * mebi }, async (pushing) => {
      const wrong = Buffer.from(large);
      wrong[5] = (wrong[5] ?? 0) ^ 1;

      expect(await codeOf(pushing.target().push(blobOf(large), watchedContent(wrong)))).toBe('E_DIGEST_MISMATCH');

      expect(pushing.registry.blob('team/app', blobOf(large).digest)).toBeUndefined();
      expect(pushing.registry.openUploads).toBe(0);
    });
  });

  it('and no chunks either refuses with advice', async () => {
    await withRegistry({ maxUploadBytes: 1000 }, async (pushing) => {
      const error = await failureOf(pushing.target().push(blobOf(large), contentOf(large)));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.hint).toContain('limit');
      expect(pushing.registry.openUploads).toBe(0);
    });
  });
});
