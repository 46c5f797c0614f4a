import { MirrorError, toMirrorError } from '../core/errors.ts';
import { HashPool } from '../fs/hash-pool.ts';
import { bundleFiles, type BundleItem, type Inventory } from './inventory.ts';
import { checkFileSet, checkSizes, type Finding, readInventory, type SealedBundle } from './reader.ts';
import { unreadable, VolumeCheck } from './volume-check.ts';

export interface VerifyOptions {
  /** Volumes that are not here are no fault: others check them. */
  partial?: boolean | undefined;
  threads: number;
  onTotal: (bytes: number) => void;
  onBytes: (bytes: number) => void;
  signal?: AbortSignal | undefined;
}

export interface Verdict {
  findings: Finding[];
  /** Absent when the inventory itself is damaged. */
  inventory?: Inventory;
  /** Items that cannot be used with what was found, and what of each is bad: files of a model, digests of an image. */
  damaged: Map<BundleItem, string[]>;
  /** Names of volumes that are not here; only of a partial check. */
  absent: string[];
  /** Items that cannot be judged without them. */
  unjudged: Set<BundleItem>;
}

/**
 * Everything after the signature: the exact file set, then every byte, each read once. A volume is proven by its
 * content: every member's bytes by their digest, and what is between them by being what the inventory makes of it.
 */
export async function verifyBundle(bundle: SealedBundle, options: VerifyOptions): Promise<Verdict> {
  // Its threads start while the inventory is read.
  await using pool = new HashPool(options.threads, options.onBytes, options.signal);
  let findings = checkFileSet(bundle);
  let inventory: Inventory | undefined;
  try {
    inventory = await readInventory(bundle);
  } catch (error) {
    const known = toMirrorError(error);
    findings.push({ file: known.at.item ?? bundleFiles.inventory, problem: 'corrupt', message: known.message });
  }
  if (!inventory) {
    findings.push(...(await checkSums(bundle, [...bundle.sums.keys()], pool, options)));
    return { findings: unique(findings), damaged: new Map(), absent: [], unjudged: new Set() };
  }
  const proven = new Set([bundleFiles.inventory, ...inventory.volumes.map(({ name }) => name)]);
  const plain = [...bundle.sums.keys()].filter((name) => !proven.has(name));
  const absent = options.partial ? missingVolumes(inventory, findings) : [];
  const isAbsent = new Set(absent);
  findings = findings.filter(({ file, problem }) => problem !== 'missing' || !isAbsent.has(file));
  const here = inventory.volumes.filter(({ name }) => !isAbsent.has(name));
  options.onTotal(here.reduce((sum, volume) => sum + volume.size, 0));
  findings.push(...checkSizes(bundle, inventory));
  const volumes = new VolumeCheck(bundle, inventory, pool, findings, absent);
  // What is between the members is looked at while the threads begin with the small files.
  const [ofSums, ofVolumes] = await Promise.all([checkSums(bundle, plain, pool), volumes.run()]);
  findings.push(...ofSums, ...ofVolumes);
  const damaged = itemsWith(inventory, volumes.damagedBlobs());
  const unjudged = new Set(itemsWith(inventory, volumes.absentBlobs()).keys());
  return { findings: unique(findings), inventory, damaged, absent, unjudged };
}

function missingVolumes({ volumes }: Inventory, findings: readonly Finding[]): string[] {
  const missing = new Set(findings.filter(({ problem }) => problem === 'missing').map(({ file }) => file));
  return volumes.map(({ name }) => name).filter((name) => missing.has(name));
}

function unique(findings: Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [`${finding.file} ${finding.message}`, finding])).values()];
}

async function checkSums(
  bundle: SealedBundle,
  names: string[],
  pool: HashPool,
  options?: VerifyOptions,
): Promise<Finding[]> {
  // Each medium has its own copy of these, and each is looked at.
  const present = names.flatMap((name) =>
    (bundle.places.get(name) ?? []).filter(({ plain }) => plain).map(({ path, size }) => ({ name, path, size })),
  );
  options?.onTotal(present.reduce((sum, { size }) => sum + size, 0));
  const results = await Promise.all(
    present.map(async ({ name, path, size }): Promise<Finding | undefined> => {
      try {
        const found = await pool.sha256([{ path, offset: 0, size }]);
        const wanted = bundle.sums.get(name);
        return found === wanted
          ? undefined
          : {
              file: name,
              problem: 'corrupt',
              message: `\`${name}\` has digest \`sha256:${found}\`, \`${bundleFiles.sums}\` says \`sha256:${wanted}\``,
            };
      } catch (error) {
        return unreadable(name, error);
      }
    }),
  );
  return results.filter((finding) => finding !== undefined);
}

/** The items that need one of these digests, and for which of their parts. */
function itemsWith({ items }: Inventory, digests: ReadonlySet<string>): Map<BundleItem, string[]> {
  const found = new Map<BundleItem, string[]>();
  for (const item of items) {
    const parts = partsOf(item, digests);
    if (parts.length > 0) found.set(item, parts);
  }
  return found;
}

function partsOf(item: BundleItem, digests: ReadonlySet<string>): string[] {
  if (item.kind === 'image') return item.digests.filter((digest) => digests.has(digest));
  const tree = { ...item.tree, path: `trees/${item.commit}.json` };
  return [...item.files, tree].filter(({ digest }) => digests.has(digest)).map(({ path }) => path);
}

/** For a command that goes on to use the bundle: the first finding as an error. @throws E_CORRUPT, E_MISSING */
export function refuseFindings(findings: readonly Finding[]): void {
  const [first] = findings;
  if (first)
    throw new MirrorError(first.problem === 'missing' ? 'E_MISSING' : 'E_CORRUPT', first.message, {
      hint: 'run `sie-mirror verify` for the whole verdict',
      at: { side: 'source', item: first.file },
    });
}
