import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openSealed, readInventory, BundleReader } from '../../../src/bundle/reader.ts';
import { chooseMedia } from '../../../src/commands/bundle/media.ts';
import { collect } from '../../support/contents.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { buildBundle, makerKey } from '../../support/sealed-bundle.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';
import { expectTame, holds } from '../../support/tame.ts';
import { verdictOf } from '../../support/every-byte.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeAll(async () => {
  place = await temporaryDirectory();
});
afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

const block = 512;
/** The largest file that is not split in a volume of 64 KiB: one header, and two blocks at the end. */
const most = 64 * 1024 - 3 * block;
const size = fc.oneof(fc.nat(3000), fc.constantFrom(0, 1, 511, 512, 513, most - 1, most, most + 1, 2 * most, 150_000));
const path = fc.oneof(
  fc.stringMatching(/^hub\/[a-z]{1,8}$/),
  fc.stringMatching(/^hub\/[a-z]{60,80}\/[a-z]{60,80}\/[a-z]{60,80}$/),
  fc.constantFrom('hub/größe', 'oci/blobs/x'),
);
const files = fc.uniqueArray(fc.record({ path, size }), { selector: (each) => each.path, minLength: 1, maxLength: 6 });

it('what is written by any layout is found good, and read back as it was', async () => {
  await fc.assert(
    fc.asyncProperty(files, fc.boolean(), async (list, links) => {
      const own = join(place.path, 'own');
      await mkdir(own);
      const [first] = list;
      const target = first?.path.startsWith('hub/') ? first.path.slice('hub/'.length) : undefined;
      const { directory } = await buildBundle(
        own,
        Object.fromEntries(list.map((each) => [each.path, each.size])),
        links && target !== undefined ? { 'hub/LINK0': target } : {},
      );
      expect(await verdictOf(directory)).toBe(0);
      const sealed = await openSealed(directory, { keys: [makerKey], required: 1 });
      const reader = new BundleReader(sealed, await readInventory(sealed));
      for (const each of list) {
        const blob = reader.find(each.path);
        const bytes = blob && (await collect(reader.content(blob).open(0)));
        expect(bytes && Buffer.from(bytes).equals(Buffer.from(seededBytes(each.path, each.size)))).toBe(true);
      }
      await rm(own, { recursive: true });
    }),
    { seed: 12, numRuns: 10, interruptAfterTimeLimit: 10_000 },
  );
});

it('volumes go to media in their order, none is filled over its size, and none is left out', async () => {
  const volumes = fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      volumes,
      fc.integer({ min: 1, max: 4 }),
      fc.nat(12_000),
      fc.nat(500),
      async (sizes, media, mediumSize, besides) => {
        const directories = Array.from({ length: media }, (_, index) => join(place.path, `medium-${index}`));
        for (const directory of directories) await mkdir(directory, { recursive: true });
        const named = sizes.map((each, index) => ({ name: `b.${String(index).padStart(4, '0')}.tar`, size: each }));
        let chosen: Map<string, string>;
        try {
          chosen = await chooseMedia(directories, named, { mediumSize, besides });
        } catch (error) {
          expectTame(error, ['E_NO_SPACE']);
          // Volumes are whole, so some room stays free on each medium, but less than a volume needs.
          const sum = sizes.reduce((total, each) => total + each, 0);
          holds(sum > media * (mediumSize - besides - Math.max(...sizes)), 'there was room');
          return;
        }
        expect([...chosen.keys()]).toEqual(named.map(({ name }) => name));
        const order = [...chosen.values()].map((directory) => directories.indexOf(directory));
        expect(order).toEqual(order.toSorted((a, b) => a - b));
        for (const directory of directories) {
          const there = named.filter(({ name }) => chosen.get(name) === directory);
          const used = there.reduce((total, each) => total + each.size, 0);
          expect(there.length === 0 || used + besides <= mediumSize).toBe(true);
        }
      },
    ),
    { seed: 13, numRuns: 100, interruptAfterTimeLimit: 10_000 },
  );
});
