import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, toMirrorError } from '../core/errors.ts';
import { HashPool } from '../fs/hash-pool.ts';
import { type BundleBlob, bundleFiles, type BundleItem, type BundleVolume, type Inventory } from './inventory.ts';
import { BundleReader, checkFileSet, checkSizes, type Finding, readInventory, type SealedBundle } from './reader.ts';
import { blockBytes, endBytes, paddingOf, tarHeader } from './tar-header.ts';
import { partName } from './layout.ts';

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
  let findings = await checkFileSet(bundle);
  let inventory: Inventory | undefined;
  try {
    inventory = await readInventory(bundle);
  } catch (error) {
    const known = toMirrorError(error);
    findings.push({ file: known.at.item ?? bundleFiles.inventory, problem: 'corrupt', message: known.message });
  }
  await using pool = new HashPool(options.threads, options.onBytes, options.signal);
  if (!inventory) {
    findings.push(...(await checkSums(bundle, [...bundle.sums.keys()], pool, options)));
    return { findings: unique(findings), damaged: new Map(), absent: [], unjudged: new Set() };
  }
  const plain = [...bundle.sums.keys()].filter(
    (name) => name !== bundleFiles.inventory && !inventory.volumes.some((volume) => volume.name === name),
  );
  const absent = options.partial ? missingVolumes(inventory, findings) : [];
  findings = findings.filter(({ file, problem }) => problem !== 'missing' || !absent.includes(file));
  const here = inventory.volumes.filter(({ name }) => !absent.includes(name));
  options.onTotal(here.reduce((sum, volume) => sum + volume.size, 0));
  findings.push(...(await checkSums(bundle, plain, pool)));
  findings.push(...(await checkSizes(bundle, inventory)));
  const volumes = new VolumeCheck(bundle, inventory, pool, findings, absent);
  findings.push(...(await volumes.run()));
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
  const present: { name: string; size: number }[] = [];
  for (const name of names) {
    const found = await lstat(join(bundle.directory, name)).catch(() => undefined);
    if (found?.isFile()) present.push({ name, size: found.size });
  }
  options?.onTotal(present.reduce((sum, { size }) => sum + size, 0));
  const results = await Promise.all(
    present.map(async ({ name, size }): Promise<Finding | undefined> => {
      try {
        const found = await pool.sha256([{ path: join(bundle.directory, name), offset: 0, size }]);
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

/** An interruption is no finding: nothing is known then. @throws E_ABORTED */
function unreadable(file: string, error: unknown, what = file): Finding {
  const known = toMirrorError(error);
  if (known.code === 'E_ABORTED') throw known;
  return { file, problem: 'unreadable', message: `\`${what}\` cannot be read: ${known.message}` };
}

/** A member as the inventory has it; the header that must stand before it is made when it is compared. */
interface Expected {
  start: number;
  header: () => Buffer;
  size: number;
}

/** Enough to keep every hashing thread busy. */
const checksAtOnce = 32;

class VolumeCheck {
  readonly #bundle: SealedBundle;
  readonly #inventory: Inventory;
  readonly #reader: BundleReader;
  readonly #pool: HashPool;
  readonly #badVolumes = new Set<number>();
  readonly #absent: ReadonlySet<number>;
  readonly #badPaths = new Set<string>();

  constructor(
    bundle: SealedBundle,
    inventory: Inventory,
    pool: HashPool,
    known: readonly Finding[],
    absent: readonly string[],
  ) {
    this.#bundle = bundle;
    this.#inventory = inventory;
    this.#reader = new BundleReader(bundle.directory, inventory);
    this.#pool = pool;
    for (const [index, { name }] of inventory.volumes.entries())
      if (known.some((finding) => finding.file === name)) this.#badVolumes.add(index + 1);
    const numbers = inventory.volumes.flatMap(({ name }, index) => (absent.includes(name) ? [index + 1] : []));
    this.#absent = new Set(numbers);
  }

  /** The digests of the files that are not whole. */
  damagedBlobs(): ReadonlySet<string> {
    return this.#onlyIn(
      (blob) => this.#badPaths.has(blob.path) || blob.parts.some((part) => this.#badVolumes.has(part.volume)),
    );
  }

  /** The digests of the files of which a part is not here. */
  absentBlobs(): ReadonlySet<string> {
    return this.#onlyIn((blob) => blob.parts.some((part) => this.#absent.has(part.volume)));
  }

  /** Digests that no other file holds, either. */
  #onlyIn(isMeant: (blob: BundleBlob) => boolean): ReadonlySet<string> {
    const elsewhere = new Set(this.#inventory.blobs.filter((blob) => !isMeant(blob)).map((blob) => blob.digest));
    return new Set(this.#inventory.blobs.map((blob) => blob.digest).filter((digest) => !elsewhere.has(digest)));
  }

  async run(): Promise<Finding[]> {
    const findings: Finding[] = [];
    const members = this.#expected();
    for (const [index, volume] of this.#inventory.volumes.entries()) {
      const number = index + 1;
      if (this.#badVolumes.has(number) || this.#absent.has(number)) continue;
      const found = await this.#checkFrame(volume, members.get(number) ?? []);
      if (found) findings.push(found);
      if (found?.problem === 'unreadable') this.#badVolumes.add(number);
    }
    const readable = this.#inventory.blobs.filter((blob) =>
      blob.parts.every((part) => !this.#badVolumes.has(part.volume) && !this.#absent.has(part.volume)),
    );
    const inOrder = [...readable].sort(
      (a, b) =>
        (a.parts[0]?.volume ?? 0) - (b.parts[0]?.volume ?? 0) || (a.parts[0]?.offset ?? 0) - (b.parts[0]?.offset ?? 0),
    );
    // A few at a time take from one list: a promise for each of a hundred thousand files would cost more than the files.
    const queue = inOrder.values();
    const takeFrom = async (): Promise<void> => {
      for (const blob of queue) findings.push(...(await this.#checkBlob(blob)));
    };
    await Promise.all(Array.from({ length: checksAtOnce }, takeFrom));
    return findings;
  }

  /** Members by volume, in order of their place. */
  #expected(): Map<number, Expected[]> {
    const members = new Map<number, Expected[]>();
    const add = (volume: number, member: Expected): void => {
      const list = members.get(volume);
      if (list) list.push(member);
      else members.set(volume, [member]);
    };
    for (const { path, parts } of this.#inventory.blobs)
      for (const [index, part] of parts.entries()) {
        const name = parts.length > 1 ? partName(path, index + 1, parts.length) : path;
        const header = (): Buffer => tarHeader({ path: name, size: part.size });
        add(part.volume, { start: part.offset - header().length, header, size: part.size });
      }
    for (const { path, target, volume, offset } of this.#inventory.links)
      add(volume, { start: offset, header: () => tarHeader({ path, link: target }), size: 0 });
    for (const list of members.values()) list.sort((a, b) => a.start - b.start);
    return members;
  }

  /** Size, headers, padding and end of a volume: all that is not the content of a member. */
  async #checkFrame(volume: BundleVolume, members: readonly Expected[]): Promise<Finding | undefined> {
    try {
      const file = await open(join(this.#bundle.directory, volume.name), 'r');
      try {
        const wrong = await firstMisplaced(file, members);
        return wrong === undefined ? undefined : misplaced(volume.name, wrong);
      } finally {
        await file.close();
      }
    } catch (error) {
      return unreadable(volume.name, error);
    }
  }

  async #checkBlob(blob: BundleBlob): Promise<Finding[]> {
    const extents = blob.parts.map((part) => ({
      path: this.#reader.volumePath(part.volume),
      offset: part.offset,
      size: part.size,
    }));
    try {
      if (`sha256:${await this.#pool.sha256(extents)}` === blob.digest) return [];
    } catch (error) {
      this.#badPaths.add(blob.path);
      const names = this.#volumeNames(blob);
      return [unreadable(names, error, `${blob.path}\` in \`${names}`)];
    }
    this.#badPaths.add(blob.path);
    return this.#blame(blob);
  }

  /** Which volumes hold the damaged parts of a file. */
  async #blame(blob: BundleBlob): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const part of blob.parts) {
      const path = this.#reader.volumePath(part.volume);
      const name = this.#inventory.volumes[part.volume - 1]?.name ?? '';
      const found = `sha256:${await this.#pool.sha256([{ path, offset: part.offset, size: part.size }])}`;
      if (found !== (part.digest ?? blob.digest))
        findings.push({
          file: name,
          problem: 'corrupt',
          message: `\`${blob.path}\` in \`${name}\` has digest \`${found}\`, the inventory says \`${part.digest ?? blob.digest}\`: copy \`${name}\` again`,
        });
    }
    if (findings.length > 0) return findings;
    return [
      {
        file: bundleFiles.inventory,
        problem: 'corrupt',
        message: `the parts of \`${blob.path}\` are right and their whole is not: the bundle was made wrongly`,
      },
    ];
  }

  #volumeNames(blob: BundleBlob): string {
    return [...new Set(blob.parts.map((part) => this.#inventory.volumes[part.volume - 1]?.name ?? ''))].join(', ');
  }
}

/** The first byte at which a volume is not what the inventory makes of it, outside the members' own bytes. */
async function firstMisplaced(file: FileHandle, members: readonly Expected[]): Promise<number | undefined> {
  let end = 0;
  for (const { start, header: makeHeader, size } of members) {
    const header = makeHeader();
    if (start !== end) return end;
    const padding = paddingOf(size);
    const found = await readBytes(file, start, header.length);
    const after = padding > 0 ? await readBytes(file, start + header.length + size, padding) : Buffer.alloc(0);
    if (!found.equals(header) || after.length !== padding || after.some((byte) => byte !== 0)) return start;
    end = start + header.length + size + padding;
  }
  const rest = await readBytes(file, end, endBytes + blockBytes);
  return rest.length === endBytes && rest.every((byte) => byte === 0) ? undefined : end;
}

async function readBytes(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  return buffer.subarray(0, bytesRead);
}

function misplaced(name: string, offset: number): Finding {
  return {
    file: name,
    problem: 'corrupt',
    message: `\`${name}\` is not laid out as the inventory says, at byte ${offset}: copy it again`,
  };
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
