import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Checksum, type Digest, formatChecksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { Reporter } from '../core/events.ts';
import { namePath, partialSuffix, syncDirectory } from '../fs/atomic.ts';
import { type HashPiece, HashThread } from '../fs/hash-thread.ts';
import { fileContent } from '../fs/read.ts';
import type { BundleBlob, BundleLink, BundleVolume, Part } from './inventory.ts';
import type { VolumeJournal, VolumeRecord } from './journal.ts';
import { dataOffset, headerOf, type Member, type VolumePlan } from './layout.ts';
import { endBytes, paddingOf } from './tar-header.ts';
import { type FileHash, type HashThreads, makeSlots, VolumeFile } from './volume-file.ts';

/** A regular file on its way into a bundle. */
export interface SourceFile {
  path: string;
  /** On disk. */
  from: string;
  size: number;
  /** What the store says that its bytes are, where it says so: a rotten store is caught here. */
  checksum?: Checksum | undefined;
  /** What to do when they are others. */
  hint?: string | undefined;
}

export interface WrittenVolumes {
  blobs: BundleBlob[];
  links: BundleLink[];
  volumes: BundleVolume[];
}

export interface WriteOptions {
  report: Reporter;
  signal?: AbortSignal | undefined;
  /** What an earlier run of the same plan has finished is not written again. */
  journal?: VolumeJournal | undefined;
}

/**
 * Writes the planned volumes: each byte is read once, hashed for its file and for its volume, and
 * written once. A volume gets its final name when it is whole and on the medium.
 * @throws E_DIGEST_MISMATCH for a store that is damaged, E_NO_SPACE
 */
export async function writeVolumes(
  pathOf: (volume: string) => string,
  plans: readonly VolumePlan[],
  files: readonly SourceFile[],
  options: WriteOptions,
): Promise<WrittenVolumes> {
  const digests = new Map<number, string>();
  const note = (id: number, hex: string): void => void digests.set(id, hex);
  await using volume = new HashThread(note);
  await using fileThread = new HashThread(note);
  const writer = new VolumeWriter(pathOf, files, digests, { volume, files: fileThread }, options);
  for (const [index, plan] of plans.entries()) {
    const record = options.journal?.done[index];
    if (record) writer.take(plan, record);
    else await writer.write(plan, index + 1);
  }
  return writer.written;
}

type FileMember = Extract<Member, { kind: 'file' }>;

/** A file from its first part to its last, maybe over several volumes; the numbers name hashes. */
interface OpenFile {
  source: SourceFile;
  own: number;
  /** A sha256 that is declared is the same hash as our own. */
  declared: number | undefined;
  parts: Part[];
}

class VolumeWriter {
  readonly written: WrittenVolumes = { blobs: [], links: [], volumes: [] };
  readonly #pathOf: (volume: string) => string;
  readonly #files: ReadonlyMap<string, SourceFile>;
  readonly #digests: ReadonlyMap<number, string>;
  readonly #threads: HashThreads;
  readonly #options: WriteOptions;
  readonly #open = new Map<string, OpenFile>();
  /** Of files that an earlier run had begun, until they go on. */
  readonly #begun = new Map<string, Part[]>();
  readonly #slots = makeSlots();
  #hashes = 0;

  constructor(
    pathOf: (volume: string) => string,
    files: readonly SourceFile[],
    digests: ReadonlyMap<number, string>,
    threads: HashThreads,
    options: WriteOptions,
  ) {
    this.#pathOf = pathOf;
    this.#files = new Map(files.map((file) => [file.path, file]));
    this.#digests = digests;
    this.#threads = threads;
    this.#options = options;
  }

  /** A volume that an earlier run has written. */
  take(plan: VolumePlan, { volume, blobs, links, open: begun }: VolumeRecord): void {
    this.written.volumes.push(volume);
    this.written.blobs.push(...blobs);
    this.written.links.push(...links);
    this.#begun.clear();
    for (const { path, parts } of begun) this.#begun.set(path, parts);
    for (const member of plan.members)
      if (member.kind === 'file') this.#options.report({ type: 'bytes', bytes: member.size });
  }

  async write(plan: VolumePlan, number: number): Promise<void> {
    const { blobs, links } = this.written;
    const before = { blobs: blobs.length, links: links.length };
    const path = this.#pathOf(plan.name);
    const id = this.#newHash();
    const file = await open(`${path}${partialSuffix}`, 'w', 0o644);
    try {
      const volume = new VolumeFile(file, this.#slots, this.#threads, { id, total: plan.size });
      try {
        await this.#members(volume, plan, number);
      } finally {
        await volume.settled();
      }
      await file.sync();
    } catch (error) {
      throw namePath(error, path);
    } finally {
      await file.close();
    }
    await rename(`${path}${partialSuffix}`, path);
    // The journal, on another medium, must not know of a name that a power cut can still take away.
    await syncDirectory(dirname(path));
    const written = { name: plan.name, size: plan.size, digest: this.#digest(id) };
    this.written.volumes.push(written);
    await this.#options.journal?.add({
      volume: written,
      blobs: blobs.slice(before.blobs),
      links: links.slice(before.links),
      open: [...this.#open].map(([name, { parts }]) => ({ path: name, parts })),
    });
  }

  /** Members in order; what their hashes came to is known, and checked, when all have been written. */
  async #members(volume: VolumeFile, plan: VolumePlan, number: number): Promise<void> {
    const finishing: (() => Promise<void>)[] = [];
    for (const member of plan.members) {
      await volume.put(headerOf(member));
      if (member.kind === 'link') {
        this.written.links.push({ path: member.path, target: member.target, volume: number, offset: member.offset });
        continue;
      }
      finishing.push(await this.#file(volume, member, number));
      await volume.put(Buffer.alloc(paddingOf(member.size)));
    }
    await volume.put(Buffer.alloc(endBytes));
    await volume.finish();
    for (const finish of finishing) await finish();
  }

  /** @returns what is to be done when the volume's hashes are known */
  async #file(volume: VolumeFile, member: FileMember, number: number): Promise<() => Promise<void>> {
    const file = await this.#opened(member.path, member.start);
    const { source, own, declared } = file;
    const ends = member.start + member.size >= source.size;
    const total = source.size;
    const hashes: FileHash[] = [{ id: own, algorithm: 'sha256', total, last: ends }];
    if (declared !== undefined && source.checksum)
      hashes.push({ id: declared, algorithm: source.checksum.algorithm, total, last: ends });
    const part = member.split ? this.#newHash() : undefined;
    if (part !== undefined) hashes.push({ id: part, algorithm: 'sha256', total: member.size, last: true });
    await volume.putFile(source.from, member.start, member.size, hashes, {
      onBytes: (bytes) => this.#options.report({ type: 'bytes', bytes }),
      signal: this.#options.signal,
    });
    return async () => {
      const place: Part = { volume: number, offset: dataOffset(member), size: member.size };
      file.parts.push(part === undefined ? place : { ...place, digest: this.#digest(part) });
      if (!ends) return;
      this.#open.delete(member.path);
      this.written.blobs.push(await this.#blob(file));
    };
  }

  async #opened(path: string, start: number): Promise<OpenFile> {
    const known = this.#open.get(path);
    if (known) return known;
    const source = this.#files.get(path);
    if (!source) throw new MirrorError('E_INTERNAL', `no source for \`${path}\``);
    const other = source.checksum && source.checksum.algorithm !== 'sha256';
    const parts = this.#begun.get(path) ?? [];
    const file = { source, own: this.#newHash(), declared: other ? this.#newHash() : undefined, parts };
    this.#open.set(path, file);
    if (start > 0) await this.#hashAgain(file);
    return file;
  }

  /**
   * The hash of a file that an earlier run had begun cannot be kept: its first bytes go through it once more.
   * @throws E_DIGEST_MISMATCH when they are not what that run has written
   */
  async #hashAgain(file: OpenFile): Promise<void> {
    const { source, own, declared, parts } = file;
    const total = source.size;
    const whole: FileHash[] = [{ id: own, algorithm: 'sha256', total, last: false }];
    if (declared !== undefined && source.checksum)
      whole.push({ id: declared, algorithm: source.checksum.algorithm, total, last: false });
    let start = 0;
    for (const part of parts) {
      const id = this.#newHash();
      await this.#hashRange(source.from, { start, size: part.size }, whole, id);
      if (this.#digest(id) !== part.digest) throw await this.#changedSince(file, part);
      start += part.size;
    }
  }

  /** @param id of the hash of this range alone */
  async #hashRange(
    path: string,
    { start, size }: { start: number; size: number },
    whole: readonly FileHash[],
    id: number,
  ): Promise<void> {
    const shared = new SharedArrayBuffer(1024 * 1024);
    let done = 0;
    for await (const chunk of fileContent([{ path, offset: start, size }]).open(0, this.#options.signal)) {
      Buffer.from(shared).set(chunk);
      done += chunk.length;
      const alone: FileHash = { id, algorithm: 'sha256', total: size, last: done === size };
      const pieces: HashPiece[] = [...whole, alone].map((hash) => ({ ...hash, start: 0, end: chunk.length }));
      await this.#threads.files.hash(shared, pieces);
    }
  }

  async #changedSince({ source, parts }: OpenFile, part: Part): Promise<MirrorError> {
    await this.#forgetFrom(parts);
    const name = this.written.volumes[part.volume - 1]?.name ?? '';
    return new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${source.path}\` in the store is not what an earlier run has put into \`${name}\``,
      {
        hint: 'run the same command again: it begins anew with the first volume of that file',
        at: { side: 'source', item: source.path },
      },
    );
  }

  /** What earlier volumes have of a file that turned out wrong is wrong as well: the next run must not go on after it. */
  async #forgetFrom(parts: readonly Part[]): Promise<void> {
    const first = parts[0]?.volume;
    if (first !== undefined) await this.#options.journal?.keepFirst(first - 1);
  }

  /** @throws E_DIGEST_MISMATCH when the store is damaged */
  async #blob({ source, own, declared, parts }: OpenFile): Promise<BundleBlob> {
    const { path, size, checksum, from } = source;
    const digest = this.#digest(own);
    const hex = this.#hex(declared ?? own);
    if (!checksum || hex === checksum.hex) return { path, digest, size, parts };
    await this.#forgetFrom(parts);
    throw new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${path}\` in the store has digest \`${formatChecksum({ algorithm: checksum.algorithm, hex })}\`, wanted \`${formatChecksum(checksum)}\``,
      {
        hint: source.hint ?? `delete \`${from}\` and fetch it again with \`sie-mirror pull\`, \`snapshot\` or \`copy\``,
        at: { side: 'source', item: path },
      },
    );
  }

  #newHash(): number {
    this.#hashes += 1;
    return this.#hashes;
  }

  #digest(id: number): Digest {
    return `sha256:${this.#hex(id)}`;
  }

  #hex(id: number): string {
    const hex = this.#digests.get(id);
    if (hex === undefined) throw new MirrorError('E_INTERNAL', `hash ${id} has not ended`);
    return hex;
  }
}
