import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { toMirrorError } from '../../core/errors.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import type { Extent } from '../../fs/read.ts';
import { type BundleBlob, bundleFiles, type BundleVolume, type Inventory, type Part } from '../records/inventory.ts';
import { BundleReader, type Finding, type SealedBundle } from '../reader.ts';
import { blockBytes, endBytes, paddingOf, tarHeader } from '../writing/tar-header.ts';
import { type Expected, VolumeOrder } from './volume-order.ts';

type Hasher = Pick<HashPool, 'sha256'>;

/** An interruption is no finding: nothing is known then. @throws E_ABORTED */
export function unreadable(file: string, error: unknown, label = `\`${file}\``): Finding {
  const known = toMirrorError(error);
  if (known.code === 'E_ABORTED') throw known;
  const isDenied = known.code === 'E_REFUSED' ? { isDenied: true as const } : {};
  return { file, problem: 'unreadable', message: `${label} cannot be read: ${known.message}`, ...isDenied };
}

/** Enough to keep every hashing thread busy. */
const checksAtOnce = 32;

/** The content of the volumes: every member's bytes by their digest, and all that is between them. */
export class VolumeCheck {
  readonly #inventory: Inventory;
  readonly #reader: BundleReader;
  readonly #pool: Hasher;
  readonly #badVolumes = new Set<number>();
  readonly #absent: ReadonlySet<number>;
  readonly #badPaths = new Set<string>();
  readonly #signal: AbortSignal | undefined;

  constructor(
    bundle: SealedBundle,
    inventory: Inventory,
    pool: Hasher,
    known: readonly Finding[],
    absent: readonly string[],
    signal?: AbortSignal,
  ) {
    this.#signal = signal;
    this.#inventory = inventory;
    this.#reader = new BundleReader(bundle, inventory);
    this.#pool = pool;
    const bad = new Set(known.map(({ file }) => file));
    const missing = new Set(absent);
    const numbersOf = (names: ReadonlySet<string>): number[] =>
      inventory.volumes.flatMap(({ name }, index) => (names.has(name) ? [index + 1] : []));
    for (const number of numbersOf(bad)) this.#badVolumes.add(number);
    this.#absent = new Set(numbersOf(missing));
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
    const digests = new Set<string>();
    for (const blob of this.#inventory.blobs) if (isMeant(blob)) digests.add(blob.digest);
    if (digests.size === 0) return digests;
    for (const blob of this.#inventory.blobs) if (!isMeant(blob)) digests.delete(blob.digest);
    return digests;
  }

  async run(): Promise<Finding[]> {
    const findings: Finding[] = [];
    const order = new VolumeOrder(this.#inventory);
    for (const [index, volume] of this.#inventory.volumes.entries()) {
      const number = index + 1;
      if (this.#isOut(number)) continue;
      const found = await this.#checkFrame(volume, number, order.members(number));
      if (found) findings.push(found);
      if (found?.problem === 'unreadable') this.#badVolumes.add(number);
    }
    // A few at a time take from one list: a promise for each of a hundred thousand files would cost more than the files.
    const queue = this.#readable(order);
    const takeFrom = async (): Promise<void> => {
      for (const { blob, part } of queue)
        findings.push(...(await (part ? this.#checkPart(blob, part) : this.#checkBlob(blob))));
    };
    await Promise.all(Array.from({ length: checksAtOnce }, takeFrom));
    return findings;
  }

  /** In the order in which they begin: files, and of those that are not all here their parts, each of which has a digest of its own. */
  *#readable(order: VolumeOrder): Generator<{ blob: BundleBlob; part?: Part | undefined }> {
    for (const index of this.#inventory.volumes.keys())
      for (const { blob, part } of order.entries(index + 1)) {
        if (!blob || this.#isOut(index + 1)) continue;
        if (this.#lacksPart(blob)) yield { blob, part: blob.parts[part] };
        else if (part === 0) yield { blob };
      }
  }

  #isOut(volume: number): boolean {
    return this.#badVolumes.has(volume) || this.#absent.has(volume);
  }

  #lacksPart({ parts }: BundleBlob): boolean {
    return parts.some(({ volume }) => this.#isOut(volume));
  }

  /** Size, headers, padding and end of a volume: all that is not the content of a member. */
  async #checkFrame(volume: BundleVolume, number: number, members: Iterable<Expected>): Promise<Finding | undefined> {
    try {
      const file = await open(this.#reader.volumePath(number), constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const wrong = await firstMisplaced(file, members, this.#signal);
        return wrong === undefined ? undefined : misplaced(volume.name, this.#reader.volumeLabel(number), wrong);
      } finally {
        await file.close();
      }
    } catch (error) {
      return unreadable(volume.name, error);
    }
  }

  async #checkBlob(blob: BundleBlob): Promise<Finding[]> {
    const extents = blob.parts.map((part) => this.#extent(part));
    let failed: { error: unknown } | undefined;
    try {
      if (`sha256:${await this.#pool.sha256(extents)}` === blob.digest) return [];
    } catch (error) {
      failed = { error };
    }
    this.#badPaths.add(blob.path);
    const findings: Finding[] = [];
    for (const part of blob.parts) findings.push(...(await this.#blame(blob, part)));
    if (findings.length > 0) return findings;
    // A medium that gives now what it did not give before is none to rely on.
    if (failed) return blob.parts.map((part) => this.#unreadablePart(blob, part, failed.error));
    return [
      {
        file: bundleFiles.inventory,
        problem: 'corrupt',
        message: `the parts of \`${blob.path}\` are right and their whole is not: the bundle was made wrongly`,
      },
    ];
  }

  /** Of a file that is not all here. */
  async #checkPart(blob: BundleBlob, part: Part): Promise<Finding[]> {
    const findings = await this.#blame(blob, part);
    if (findings.length > 0) this.#badPaths.add(blob.path);
    return findings;
  }

  /** What is wrong with this part of a damaged file. */
  async #blame(blob: BundleBlob, part: Part): Promise<Finding[]> {
    const name = this.#volumeName(part);
    const wanted = part.digest ?? blob.digest;
    try {
      const found = `sha256:${await this.#pool.sha256([this.#extent(part)])}`;
      if (found === wanted) return [];
      const label = this.#reader.volumeLabel(part.volume);
      const message = `\`${blob.path}\` in ${label} has digest \`${found}\`, the inventory says \`${wanted}\`: copy \`${name}\` again`;
      return [{ file: name, problem: 'corrupt', message, blob: blob.path }];
    } catch (error) {
      return [this.#unreadablePart(blob, part, error)];
    }
  }

  #unreadablePart({ path }: BundleBlob, part: Part, error: unknown): Finding {
    const name = this.#volumeName(part);
    const label = `\`${path}\` in ${this.#reader.volumeLabel(part.volume)}`;
    return { ...unreadable(name, error, label), blob: path };
  }

  #extent({ volume, offset, size }: Part): Extent {
    return { path: this.#reader.volumePath(volume), offset, size };
  }

  #volumeName({ volume }: Part): string {
    return this.#inventory.volumes[volume - 1]?.name ?? '';
  }
}

/** The first byte at which a volume is not what the inventory makes of it, outside the members' own bytes. */
async function firstMisplaced(
  file: FileHandle,
  members: Iterable<Expected>,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const reader = new FrameReader(file);
  let end = 0;
  for (const { start, member, size } of members) {
    // On a slow medium all the headers take minutes.
    signal?.throwIfAborted();
    const header = tarHeader(member);
    if (start !== end) return end;
    const padding = paddingOf(size);
    const found = await reader.read(start, header.length, size <= smallBytes);
    const after = padding > 0 ? await reader.read(start + header.length + size, padding, false) : Buffer.alloc(0);
    if (!found.equals(header) || after.length !== padding || after.some((byte) => byte !== 0)) return start;
    end = start + header.length + size + padding;
  }
  const rest = await reader.read(end, endBytes + blockBytes, false);
  return rest.length === endBytes && rest.every((byte) => byte === 0) ? undefined : end;
}

/** Of a file that is no larger, more than its header is read at once: those of the next ones are near. */
const smallBytes = 4096;
const aheadBytes = 64 * 1024;

/** Reads what is between the files of a volume; where they are small, many such pieces at once. */
class FrameReader {
  readonly #file: FileHandle;
  #bytes = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Fewer bytes when the volume ends before. */
  async read(offset: number, length: number, ahead: boolean): Promise<Buffer> {
    const at = offset - this.#start;
    if (at >= 0 && at + length <= this.#bytes.length) return this.#bytes.subarray(at, at + length);
    const buffer = Buffer.allocUnsafe(ahead ? Math.max(length, aheadBytes) : length);
    const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, offset);
    this.#bytes = buffer.subarray(0, bytesRead);
    this.#start = offset;
    return this.#bytes.subarray(0, length);
  }
}

function misplaced(name: string, label: string, offset: number): Finding {
  return {
    file: name,
    problem: 'corrupt',
    message: `${label} is not laid out as the inventory says, at byte ${offset}: copy it again`,
  };
}
