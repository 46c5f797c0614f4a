import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { blobOf, watchedContent } from '../support/contents.ts';
import { copyUser } from '../support/copying.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { firstOfEach } from '../support/first-of-each.ts';
import { bodies, faultsAt, isThere, type Pushing, withRegistry } from '../support/pushing.ts';
import type { RegistryOptions } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const small = seededBytes('small', 5000);
const large = seededBytes('large', 20 * mebi);
const tokens = { kind: 'bearer', ...copyUser } as const;

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
      pushing.registry.server.faults = firstOfEach(/^PUT /, [{ kind: 'lost' }]);
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
