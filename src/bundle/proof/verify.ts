import { endsRun, MirrorError, toMirrorError } from '../../core/errors.ts';
import { HashPool } from '../../fs/hash-pool.ts';
import { checkSeals, checkSums, copiesOf, type Copy, otherCopies } from './copies.ts';
import { bundleFiles, type BundleItem, type Inventory } from '../records/inventory.ts';
import { checkFileSet, checkSizes, type Finding, readInventory, type SealedBundle } from '../reader.ts';
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
    if (endsRun(known)) throw known;
    const { item = '' } = known.at;
    const file = bundle.sums.has(item) ? item : bundleFiles.inventory;
    // What is missing, or no plain file, the set of files has told of already; the sums tell of another digest.
    if (known.exit !== 4) findings.push(unreadable(bundleFiles.inventory, known));
    else if (known.code !== 'E_DIGEST_MISMATCH' && findings.every((finding) => finding.file !== file))
      findings.push({ file, problem: 'corrupt', message: known.message });
  }
  if (!inventory) {
    const copies = copiesOf(bundle, [...bundle.sums.keys()]);
    options.onTotal(sizeOf(copies));
    findings.push(...(await checkSums(bundle, copies, pool)));
    return { findings: unique(findings), damaged: new Map(), absent: [], unjudged: new Set() };
  }
  const proven = new Set([bundleFiles.inventory, ...inventory.volumes.map(({ name }) => name)]);
  const plain = [...bundle.sums.keys()].filter((name) => !proven.has(name));
  const missing = missingVolumes(inventory, findings);
  // A part is one volume at least: of an empty directory nothing good can be said.
  const absent = options.partial && missing.length < inventory.volumes.length ? missing : [];
  const isAbsent = new Set(absent);
  findings = findings.filter(({ file, problem }) => problem !== 'missing' || !isAbsent.has(file));
  const here = inventory.volumes.filter(({ name }) => !isAbsent.has(name));
  const { others, wrong: ofOthers } = otherCopies(bundle, here);
  // The inventory has been read from its first copy.
  const copies = [...copiesOf(bundle, plain), ...copiesOf(bundle, [bundleFiles.inventory]).slice(1), ...others];
  options.onTotal(sizeOf(others) + here.reduce((sum, volume) => sum + volume.size, 0));
  findings.push(...checkSizes(bundle, inventory));
  const volumes = new VolumeCheck(bundle, inventory, pool, findings, absent, options.signal);
  // What is between the members is looked at while the threads begin with the small files.
  const [ofSums, ofVolumes] = await Promise.all([checkSums(bundle, copies, pool), volumes.run()]);
  findings.push(...ofSums, ...ofVolumes, ...ofOthers, ...(await checkSeals(bundle)));
  const damaged = itemsWith(inventory, volumes.damagedBlobs());
  const unjudged = new Set(itemsWith(inventory, volumes.absentBlobs()).keys());
  return { findings: unique(findings), inventory, damaged, absent, unjudged };
}

function sizeOf(copies: readonly Copy[]): number {
  return copies.reduce((sum, { place }) => sum + place.size, 0);
}

function missingVolumes({ volumes }: Inventory, findings: readonly Finding[]): string[] {
  const missing = new Set(findings.filter(({ problem }) => problem === 'missing').map(({ file }) => file));
  return volumes.map(({ name }) => name).filter((name) => missing.has(name));
}

function unique(findings: Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [`${finding.file} ${finding.message}`, finding])).values()];
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
