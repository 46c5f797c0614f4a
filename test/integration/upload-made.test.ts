import { describe, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { contentOf } from '../../src/core/stream.ts';
import { watchedContent } from '../support/contents.ts';
import { failureOf } from '../support/failures.ts';
import { firstOfEach } from '../support/first-of-each.ts';
import { bodies, faultsAt, isThere, withRegistry } from '../support/pushing.ts';
import type { RegistryOptions } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const small = seededBytes('small', 5000);
const large = seededBytes('large', 20 * mebi);

function push(target: ContentTarget, content: Parameters<NonNullable<ContentTarget['pushMade']>>[1]): Promise<string> {
  if (!target.pushMade) throw new Error('this target takes no blob that is made on its way');
  return target.pushMade('a layer', content);
}

describe('a blob whose digest nobody knows', () => {
  it.each([
    ['small', small],
    ['large', large],
  ])('and that is %s goes in one body, and gets its digest in the end', async (_, bytes) => {
    await withRegistry({}, async (pushing) => {
      const content = watchedContent(bytes);

      expect(await push(pushing.target(), content)).toBe(sha256(bytes));

      expect(bodies(pushing)).toEqual([`PATCH ${bytes.length} 202`, 'PUT 0 201']);
      expect([isThere(pushing, bytes), content.opened]).toEqual([true, [0]]);
    });
  });

  it.each<[string, RegistryOptions]>([
    ['a body is too large', { maxUploadBytes: 8 * mebi }],
    ['a chunk is too large, and so is a body', { maxChunk: { bytes: 4 * mebi, all: true } }],
  ])('is pushed in chunks where %s', async (_, options) => {
    await withRegistry(options, async (pushing) => {
      expect(await push(pushing.target(), watchedContent(large))).toBe(sha256(large));

      expect(bodies(pushing).filter((body) => body.endsWith(' 202')).length).toBeGreaterThan(2);
      expect(isThere(pushing, large)).toBe(true);
    });
  });

  it('is one body where only chunks may not be large', async () => {
    await withRegistry({ maxChunk: { bytes: 4 * mebi } }, async (pushing) => {
      expect(await push(pushing.target(), watchedContent(large))).toBe(sha256(large));

      expect(bodies(pushing)).toEqual([`PATCH ${large.length} 202`, 'PUT 0 201']);
    });
  });

  it.each<[string, RegistryOptions, number[]]>([
    ['goes on where the registry says that it stopped', {}, [0, 8 * mebi]],
    ['begins anew where the registry does not say', { uploadStatus: 404 }, [0, 0]],
  ])('%s', async (_, options, opened) => {
    await withRegistry({ ...options, uploadFault: faultsAt('cut', 9 * mebi) }, async (pushing) => {
      const content = watchedContent(large);

      expect(await push(pushing.target(), content)).toBe(sha256(large));

      expect([isThere(pushing, large), content.opened]).toEqual([true, opened]);
    });
  });

  it('is not sent again when only the last answer was lost', async () => {
    await withRegistry({}, async (pushing) => {
      pushing.registry.server.faults = firstOfEach(/^PUT /, [{ kind: 'lost' }]);
      const content = watchedContent(large);

      expect(await push(pushing.target(), content)).toBe(sha256(large));

      expect([isThere(pushing, large), content.opened]).toEqual([true, [0]]);
    });
  });

  it('leaves nothing when the source breaks, and that is not tried again', async () => {
    await withRegistry({}, async (pushing) => {
      const broken = new MirrorError('E_DIGEST_MISMATCH', 'a file is not what it should be', {
        at: { side: 'source' },
      });
      const content = watchedContent(large, { broken: (position) => (position > 9 * mebi ? broken : undefined) });

      expect(await failureOf(push(pushing.target(), content))).toBe(broken);

      expect([content.opened, pushing.registry.openUploads]).toEqual([[0], 0]);
    });
  });

  it('that is shorter than it said is refused', async () => {
    await withRegistry({}, async (pushing) => {
      const content = { ...contentOf(small), size: small.length + 1 };

      expect((await failureOf(push(pushing.once(), content))).code).toBe('E_SIZE_MISMATCH');

      expect(isThere(pushing, small)).toBe(false);
    });
  });
});
