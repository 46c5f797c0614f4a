import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { contentOf } from '../../src/core/stream.ts';
import { blobOf, watchedContent } from '../support/contents.ts';
import { copyUser } from '../support/copying.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { buildArtifact } from '../support/images.ts';
import { type Pushing, withRegistry } from '../support/pushing.ts';
import type { RegistryOptions } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const small = seededBytes('small', 5000);
const large = seededBytes('large', 20 * mebi);
const tokens = { kind: 'bearer', ...copyUser } as const;

const isThere = ({ registry }: Pushing, bytes: Uint8Array, repository = 'team/app'): boolean =>
  Buffer.from(registry.blob(repository, blobOf(bytes).digest) ?? []).equals(bytes);

/** Bodies of an upload, as the server was told they are. */
function bodies({ registry }: Pushing): string[] {
  return registry.server.requests
    .filter(({ method }) => method === 'PUT' || method === 'PATCH')
    .map(
      ({ method, headers, status }) => `${method} ${headers['content-range'] ?? headers['content-length']} ${status}`,
    );
}

/** Breaks the first requests off once the upload has the sizes given. */
function faultsAt(fault: 'cut' | 'hang', ...sizes: number[]): NonNullable<RegistryOptions['uploadFault']> {
  const left = [...sizes];
  return ({ size }) => {
    if (left[0] === undefined || size < left[0]) return undefined;
    left.shift();
    return fault;
  };
}

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

describe('an upload that breaks', () => {
  it.each<[string, RegistryOptions]>([
    ['as distribution 3 and olareg do', {}],
    ['refusing chunks silently, as distribution 3', { outOfOrder: 'refused without headers', location: 'absolute' }],
  ])('goes on where the registry says it stopped: %s', async (_, options) => {
    const uploadFault = faultsAt('cut', 9 * mebi, 15 * mebi);
    await withRegistry({ ...options, uploadFault }, async (pushing) => {
      const content = watchedContent(large);

      await pushing.target().push(blobOf(large), content);

      expect(isThere(pushing, large)).toBe(true);
      // From the last place at which the state of the hash was kept, not from the start.
      expect(content.opened).toEqual([0, 8 * mebi, 12 * mebi]);
      expect(pushing.registry.server.count(/^POST/)).toBe(1);
      expect(pushing.registry.openUploads).toBe(0);
    });
  });

  it('goes on for as long as it gets further', async () => {
    const uploadFault = faultsAt('cut', ...Array.from({ length: 9 }, (_, index) => (index + 1) * 2 * mebi));
    await withRegistry(
      { uploadFault },
      async (pushing) => {
        await pushing.target().push(blobOf(large), watchedContent(large));

        expect(isThere(pushing, large)).toBe(true);
      },
      { retry: { attempts: 5, pauseMs: 1, maxPauseMs: 2, maxWaitMs: 1500 } },
    );
  });

  it.each<[string, RegistryOptions]>([
    ['as distribution 2', { uploadStatus: 'unless broken' }],
    ['as crane', { uploadStatus: 400, cancelStatus: 400 }],
    ['with 404', { uploadStatus: 404 }],
  ])('begins anew where the registry does not say: %s', async (_, options) => {
    await withRegistry({ ...options, uploadFault: faultsAt('cut', 9 * mebi) }, async (pushing) => {
      const content = watchedContent(large);

      await pushing.target().push(blobOf(large), content);

      expect(isThere(pushing, large)).toBe(true);
      expect(content.opened).toEqual([0, 0]);
      expect(pushing.registry.server.count(/^POST/)).toBe(2);
    });
  });

  it('begins anew at once when it is small', async () => {
    const medium = seededBytes('medium', 2 * mebi);
    await withRegistry({ uploadFault: faultsAt('cut', mebi) }, async (pushing) => {
      await pushing.target().push(blobOf(medium), watchedContent(medium));

      expect(isThere(pushing, medium)).toBe(true);
      expect(pushing.registry.server.count(/^GET/)).toBe(0);
    });
  });

  it('is not sent again when only the answer was lost', async () => {
    await withRegistry({}, async (pushing) => {
      let lost = false;
      pushing.registry.server.faults = ({ method }) => {
        if (method !== 'PUT' || lost) return undefined;
        lost = true;
        return { kind: 'lost' };
      };
      const content = watchedContent(large);

      await pushing.target().push(blobOf(large), content);

      expect(content.opened).toEqual([0]);
      expect(isThere(pushing, large)).toBe(true);
    });
  });

  it('is not believed to have more than it was sent', async () => {
    await withRegistry({ uploadFault: faultsAt('cut', 9 * mebi) }, async (pushing) => {
      pushing.registry.server.faults = ({ method, path }) =>
        method === 'GET' && path.includes('/uploads/')
          ? { kind: 'status', status: 204, headers: { range: `0-${30 * mebi}` } }
          : undefined;

      await pushing.target().push(blobOf(large), watchedContent(large));

      expect(isThere(pushing, large)).toBe(true);
      expect(bodies(pushing).filter((body) => !body.startsWith(`PUT ${large.length} `))).toEqual([]);
    });
  });

  it('checks what it reads again: a source that has changed in between is refused', async () => {
    await withRegistry({ uploadFault: faultsAt('cut', 9 * mebi) }, async (pushing) => {
      const changed = Buffer.from(large);
      changed[18 * mebi] = (changed[18 * mebi] ?? 0) ^ 1;
      const [first, second] = [watchedContent(large), watchedContent(changed)];
      let opened = 0;
      const content = {
        size: large.length,
        open: (offset: number, signal?: AbortSignal) => {
          opened += 1;
          return (opened === 1 ? first : second).open(offset, signal);
        },
      };

      expect(await codeOf(pushing.target().push(blobOf(large), content))).toBe('E_DIGEST_MISMATCH');

      expect(pushing.registry.blob('team/app', blobOf(large).digest)).toBeUndefined();
    });
  });

  it('is given up as a network error when the registry takes nothing more', async () => {
    const uploadFault = faultsAt('hang', mebi, mebi, mebi);
    await withRegistry(
      { uploadFault },
      async (pushing) => {
        const huge = seededBytes('huge', 60 * mebi);

        const error = await failureOf(pushing.once().push(blobOf(huge), watchedContent(huge)));

        expect([error.code, error.at.side]).toEqual(['E_NETWORK', 'target']);
      },
      { stallMs: 200 },
    );
  });

  it('tells the registry so when it will not be gone on with', async () => {
    await withRegistry({}, async (pushing) => {
      const broken = new MirrorError('E_NETWORK', 'the source broke', { at: { side: 'source' } });
      const content = watchedContent(small, { broken: () => broken });

      expect(await failureOf(pushing.target().push(blobOf(small), content))).toBe(broken);

      expect(pushing.registry.openUploads).toBe(0);
      expect(pushing.log().at(-1)).toBe('DELETE team/app/blobs/uploads/ID');
    });
  });
});

describe('tokens that end', () => {
  /** Every token is refused once the request that `at` names has come. */
  const expiring = (pushing: Pushing, at: RegExp): void => {
    let done = false;
    pushing.registry.server.faults = ({ method, path }) => {
      if (!done && at.test(`${method} ${path}`)) {
        done = true;
        pushing.registry.expireTokens();
      }
      return undefined;
    };
  };

  it.each<[string, RegExp]>([
    ['before a chunk', /^PATCH/],
    ['before the upload is closed', /^PUT .*digest=/],
  ])('%s are renewed, and the upload goes on', async (_, at) => {
    await withRegistry({ auth: tokens, maxUploadBytes: 6 * mebi }, async (pushing) => {
      expiring(pushing, at);

      await pushing.once().push(blobOf(large), watchedContent(large));

      expect(isThere(pushing, large)).toBe(true);
      expect(bodies(pushing).filter((body) => body.endsWith(' 401'))).toHaveLength(1);
    });
  });

  it('before a body are renewed, and it is sent once more', async () => {
    await withRegistry({ auth: tokens }, async (pushing) => {
      expiring(pushing, /^PUT/);

      await pushing.once().push(blobOf(small), watchedContent(small));

      expect(bodies(pushing)).toEqual([`PUT ${small.length} 401`, `PUT ${small.length} 201`]);
    });
  });

  it('while a proxy collects the body lead to chunks, each with a token that is good', async () => {
    await withRegistry({ auth: tokens, bufferingAuth: true }, async (pushing) => {
      pushing.registry.server.faults = ({ method, headers }) => {
        // As long as a token lives, 10 MiB come through.
        if (method === 'PUT' && Number(headers['content-length']) > 10 * mebi) pushing.registry.expireTokens();
        return undefined;
      };

      await pushing.once().push(blobOf(large), watchedContent(large));

      expect(isThere(pushing, large)).toBe(true);
      expect(bodies(pushing).filter((body) => body.startsWith(`PUT ${large.length} `))).toHaveLength(1);
      expect(bodies(pushing).filter((body) => /^PATCH .* 202$/.test(body))).toHaveLength(5);
    });
  });
});

describe('a registry that misunderstands', () => {
  it('has bytes that were changed on their way sent again', async () => {
    let told = false;
    await withRegistry({}, async (pushing) => {
      pushing.registry.server.faults = ({ method }) => {
        if (method !== 'PUT' || told) return undefined;
        told = true;
        const body = JSON.stringify({ errors: [{ code: 'DIGEST_INVALID', message: 'other bytes' }] });
        return { kind: 'status', status: 400, body };
      };
      const blob: Descriptor = blobOf(small);

      await pushing.target().push(blob, watchedContent(small));

      expect(isThere(pushing, small)).toBe(true);
    });
  });
});
