import type { HashPool } from '../../fs/hash-pool.ts';
import { bundleFiles, type BundleVolume } from '../records/inventory.ts';
import { type Place, placeLabel, placeOf, readPlace } from '../places.ts';
import { type Finding, type SealedBundle, wrongSize } from '../reader.ts';
import { unreadable } from './volume-check.ts';

/** One of the places of a file, to be held against its sum. */
export interface Copy {
  name: string;
  place: Place;
}

/** Every copy of these files: each medium has its own. */
export function copiesOf({ places }: SealedBundle, names: readonly string[]): Copy[] {
  return names.flatMap((name) =>
    (places.get(name) ?? []).filter(({ plain }) => plain).map((place) => ({ name, place })),
  );
}

/**
 * The copies of these volumes that nothing is read from: who takes one of their media for good has to find it so. What
 * is wrong with those of another size is seen without reading.
 */
export function otherCopies(
  bundle: SealedBundle,
  volumes: readonly BundleVolume[],
): { others: Copy[]; wrong: Finding[] } {
  const others: Copy[] = [];
  const wrong: Finding[] = [];
  for (const volume of volumes) {
    const read = placeOf(bundle.places, volume);
    for (const copy of copiesOf(bundle, [volume.name]))
      if (copy.place === read) continue;
      else if (copy.place.size === volume.size) others.push(copy);
      else wrong.push(wrongSize(bundle.places, volume, copy.place));
  }
  return { others, wrong };
}

/** Each copy, whole, against SHA256SUMS. */
export async function checkSums(bundle: SealedBundle, copies: readonly Copy[], pool: HashPool): Promise<Finding[]> {
  const results = await Promise.all(copies.map((copy) => checkSum(bundle, copy, pool)));
  return results.filter((finding) => finding !== undefined);
}

async function checkSum({ places, sums }: SealedBundle, { name, place }: Copy, pool: HashPool) {
  const label = placeLabel(places, name, place);
  try {
    const found = await pool.sha256([{ path: place.path, offset: 0, size: place.size }]);
    const wanted = sums.get(name);
    if (found === wanted) return undefined;
    const message = `${label} has digest \`sha256:${found}\`, \`${bundleFiles.sums}\` says \`sha256:${wanted}\`: copy it again`;
    return { file: name, problem: 'corrupt', message } satisfies Finding;
  } catch (error) {
    return unreadable(name, error, label);
  }
}

/** Signatures and approvals, of which no sum speaks, are the same on each medium that has them. */
export async function checkSeals({ places, sums }: SealedBundle): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [name, [first, ...others]] of places) {
    if (!first?.plain || sums.has(name) || others.length === 0) continue;
    const read = await readPlace(first, name).catch(() => undefined);
    for (const place of others) {
      const other = await readPlace(place, name).catch(() => undefined);
      // What is no plain file, or no small one, the set of files tells of.
      if (!read || !other || read.equals(other)) continue;
      const message = `${placeLabel(places, name, place)} is another one than in \`${first.directory}\`: copy it again`;
      findings.push({ file: name, problem: 'corrupt', message });
    }
  }
  return findings;
}
