import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bundleFiles, type Inventory, inventorySchemaId } from '../../src/bundle/records/inventory.ts';
import { formatInventory } from '../../src/bundle/records/inventory-text.ts';
import { type LayoutEntry, planVolumes } from '../../src/bundle/writing/layout.ts';
import { formatSums, makeKeyPair, readPrivateKey, readPublicKey, signSums } from '../../src/bundle/proof/seal.ts';
import { writeVolumes } from '../../src/bundle/writing/writer.ts';
import { seededBytes } from './seeded-bytes.ts';

const pair = makeKeyPair();
export const makerKey = readPublicKey(pair.publicPem, 'pub');

export interface BuiltBundle {
  directory: string;
  inventory: Inventory;
}

/** A signed bundle without items: seeded files by path and size, and links by path and target. */
export async function buildBundle(
  place: string,
  sizes: Record<string, number>,
  links: Record<string, string> = {},
): Promise<BuiltBundle> {
  const directory = join(place, 'bundle');
  await mkdir(directory, { recursive: true });
  const files = await Promise.all(
    Object.entries(sizes).map(async ([path, size]) => {
      const from = join(place, 'store', path);
      await mkdir(dirname(from), { recursive: true });
      await writeFile(from, seededBytes(path, size));
      return { path, size };
    }),
  );
  const entries: LayoutEntry[] = [...files, ...Object.entries(links).map(([path, link]) => ({ path, link }))];
  const plans = planVolumes('b', entries, 64 * 1024);
  const written = await writeVolumes((name) => join(directory, name), plans, join(place, 'store'), {
    report: () => {},
  });
  const inventory: Inventory = { schema: inventorySchemaId, name: 'b', tool: 'x', items: [], ...written };
  await writeFile(join(directory, bundleFiles.inventory), formatInventory(inventory));
  await writeFile(join(directory, bundleFiles.guide), 'read me\n');
  await sealAgain({ directory, inventory });
  return { directory, inventory };
}

/** Makes sums and signature fit what stands in the directory: what an attacker without the key can do, and the maker. */
export async function sealAgain({ directory, inventory }: BuiltBundle, key = pair.privatePem): Promise<void> {
  const names = [...inventory.volumes.map(({ name }) => name), bundleFiles.inventory, bundleFiles.guide];
  const sums = new Map<string, string>();
  for (const name of names)
    sums.set(
      name,
      createHash('sha256')
        .update(await readFile(join(directory, name)))
        .digest('hex'),
    );
  const text = formatSums(sums);
  const { plain, sigstore } = signSums(Buffer.from(text), readPrivateKey(key, 'key'));
  await writeFile(join(directory, bundleFiles.signature), plain);
  await writeFile(join(directory, bundleFiles.sigstore), sigstore);
  await writeFile(join(directory, bundleFiles.sums), text);
}
