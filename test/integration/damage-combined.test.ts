import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openSealed } from '../../src/bundle/reader.ts';
import { trustNobody } from '../../src/bundle/proof/signers.ts';
import { verifyBundle } from '../../src/bundle/proof/verify.ts';
import { temporaryDirectory } from '../support/place.ts';
import { buildBundle, type BuiltBundle } from '../support/sealed-bundle.ts';

/** Several volumes damaged in several ways at once, on one medium or on two: each of them is named, and no other. */

const sizes = { 'hub/a': 10_000, 'hub/b': 0, 'hub/c': 70_000, 'hub/large': 260_000, 'oci/d': 30_000, 'oci/e': 50_000 };
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let built: BuiltBundle;

beforeAll(async () => {
  place = await temporaryDirectory();
  built = await buildBundle(place.path, sizes, { 'hub/l': 'a' });
});

afterAll(() => place[Symbol.asyncDispose]());

/** Of one volume on one medium; `at` says where, in thousandths of it. */
interface Damage {
  what: 'none' | 'gone' | 'bit' | 'cut';
  at: number;
}
const damage: fc.Arbitrary<Damage> = fc.record({
  what: fc.constantFrom('none', 'none', 'none', 'gone', 'bit', 'cut'),
  at: fc.integer({ min: 0, max: 999 }),
});
const medium = fc.array(damage, { minLength: 9, maxLength: 9 });

async function makeMedium(name: string, damages: readonly Damage[]): Promise<string> {
  const directory = join(place.path, name);
  await rm(directory, { recursive: true, force: true });
  await cp(built.directory, directory, { recursive: true });
  for (const [index, { name: volume, size }] of built.inventory.volumes.entries()) {
    const { what, at } = damages[index] ?? { what: 'none', at: 0 };
    const path = join(directory, volume);
    const offset = Math.floor((at * size) / 1000);
    if (what === 'gone') await rm(path);
    if (what === 'cut') await truncate(path, offset);
    if (what !== 'bit') continue;
    const bytes = await readFile(path);
    bytes[offset] = (bytes[offset] ?? 0) ^ 4;
    await writeFile(path, bytes);
  }
  return directory;
}

it('names each damaged volume and no other, whatever else is damaged or missing', async () => {
  const { volumes } = built.inventory;
  expect(volumes).toHaveLength(9);
  const isHere = fc.array(medium, { minLength: 1, maxLength: 2 });
  await fc.assert(
    fc.asyncProperty(isHere, fc.boolean(), async (media, partial) => {
      const directories = await Promise.all(media.map(async (each, index) => makeMedium(`medium${index}`, each)));
      const stateOf = (index: number): Damage['what'][] => media.map((each) => each[index]?.what ?? 'none');
      const isGone = (index: number): boolean => stateOf(index).every((what) => what === 'gone');
      const allGone = volumes.every((_, index) => isGone(index));
      const wrong = volumes.filter((_, index) =>
        isGone(index) ? !partial || allGone : stateOf(index).some((what) => what === 'bit' || what === 'cut'),
      );

      const [first = '', ...others] = directories;
      const { findings } = await verifyBundle(await openSealed(first, trustNobody, others), {
        partial,
        threads: 2,
        onTotal: () => {},
        onBytes: () => {},
      });

      expect(new Set(findings.map(({ file }) => file))).toEqual(new Set(wrong.map(({ name }) => name)));
    }),
    { seed: 6, numRuns: 20, endOnFailure: true },
  );
});
