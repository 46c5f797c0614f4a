import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, formatChecksum } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { partialSuffix } from '../../fs/atomic.ts';
import { openDirect } from '../../fs/direct.ts';
import { syncDirectory } from '../../fs/directories.ts';
import { BatchBuilder } from './batches.ts';
import type { BundleBlob, Part } from '../records/inventory.ts';
import { PackedList } from '../lists/long-list.ts';
import type { VolumeJournal, VolumeRecord } from './journal.ts';
import { dataOffset, type FileMember, type VolumePlan } from './layout.ts';
import { midwayError } from '../medium-errors.ts';
import type { BatchResult, FileHash, OpenVolume, VolumeThread } from './volume-thread.ts';
import type { SourceFile } from './source-file.ts';

export interface ChainOptions {
  pathOf: (volume: string) => string;
  /** Directory in which the files stand at their paths. */
  root: string;
  /** Of a volume, counted from 1. */
  numberOf: (plan: VolumePlan) => number;
  journal?: VolumeJournal | undefined;
}

/** A file from its first part to its last, maybe over several volumes; the numbers name hashes. */
interface OpenFile {
  source: SourceFile;
  own: number;
  /** A sha256 that is declared is the same hash as our own. */
  declared: number | undefined;
  parts: Part[];
}

/** A member that a batch ends with or holds, and the hash of its part when it is split. */
interface Sent {
  file: OpenFile;
  member: FileMember;
  part: number | undefined;
}

/** Writes volumes that follow each other, so that the hash of a file which goes over several of them goes on. */
export class ChainWriter {
  readonly #thread: VolumeThread;
  readonly #options: ChainOptions;
  /** What goes on in the next volume. */
  #open: OpenFile | undefined;
  readonly #earlier: VolumeRecord[] = [];
  #hashes = 0;

  constructor(thread: VolumeThread, options: ChainOptions) {
    this.#thread = thread;
    this.#options = options;
  }

  /** A volume that an earlier run has written. */
  take(record: VolumeRecord): void {
    this.#earlier.push(record);
  }

  /**
   * A volume gets its final name when it is whole and on the medium.
   * @throws E_DIGEST_MISMATCH for a store that is damaged, E_NO_SPACE, E_MEDIUM for a medium that is gone or worn out
   */
  async write(plan: VolumePlan): Promise<VolumeRecord> {
    const path = this.#options.pathOf(plan.name);
    const record: VolumeRecord = {
      volume: { name: plan.name, size: plan.size, digest: 'sha256:' },
      blobs: new PackedList(),
      links: new PackedList(),
      open: [],
    };
    const first = plan.members.at(0);
    if (!this.#open && first?.kind === 'file' && first.start > 0) await this.#goOn(first.source);
    try {
      record.volume.digest = await this.#file(`${path}${partialSuffix}`, plan, record);
      await rename(`${path}${partialSuffix}`, path);
      // The journal, on another medium, must not know of a name that a power cut can still take away.
      await syncDirectory(dirname(path));
    } catch (error) {
      throw midwayError(error, path);
    }
    if (this.#open) record.open.push({ path: this.#open.source.path, parts: [...this.#open.parts] });
    this.#earlier.push(record);
    await this.#options.journal?.add(record);
    return record;
  }

  /** @returns the digest of the volume, which is on the medium then */
  async #file(path: string, plan: VolumePlan, record: VolumeRecord): Promise<Digest> {
    const file = await open(path, 'w', 0o644);
    const direct = await openDirect(path);
    try {
      const digest = await this.#members({ file: file.fd, direct: direct?.fd }, plan, record);
      await file.sync();
      return digest;
    } finally {
      await direct?.close();
      await file.close();
    }
  }

  /** @returns the digest of the volume */
  async #members(files: OpenVolume, plan: VolumePlan, record: VolumeRecord): Promise<Digest> {
    const volume = this.#options.numberOf(plan);
    const builder = new BatchBuilder();
    let sent: Sent[] = [];
    let begin: { volume?: OpenVolume } = { volume: files };
    let running: Promise<void> = Promise.resolve();
    const send = async (): Promise<void> => {
      const members = sent;
      const before = running;
      running = this.#thread
        .run({ ...builder.take(), ...begin })
        .then((result) => this.#finish(members, result, volume, record));
      // Seen when it is waited for; one batch runs while the next one waits behind it.
      running.catch(() => {});
      [sent, begin] = [[], {}];
      await before;
    };
    try {
      for (const member of plan.members) {
        if (member.kind === 'link') {
          builder.link(member);
          record.links.push({ path: member.path, target: member.target, volume, offset: member.offset });
        } else sent.push(this.#put(member, builder));
        if (builder.isFull) await send();
      }
    } finally {
      // Nothing may write to the file when it is closed.
      await running.catch(() => {});
    }
    await running;
    builder.end();
    const result = await this.#thread.run({ ...builder.take(), ...begin, ends: true });
    await this.#finish(sent, result, volume, record);
    return `sha256:${result.volume ?? ''}`;
  }

  #put(member: FileMember, builder: BatchBuilder): Sent {
    const { source } = member;
    const file = this.#opened(source);
    const ends = member.start + member.size >= source.size;
    const hashes = this.#wholeHashes(file, ends);
    const part = member.split ? this.#newHash() : undefined;
    if (part !== undefined) hashes.push({ id: part, algorithm: 'sha256', total: member.size, last: true });
    builder.file(member, this.#placeOf(source), hashes);
    this.#open = ends ? undefined : file;
    return { file, member, part };
  }

  #placeOf({ path }: SourceFile): string {
    return join(this.#options.root, path);
  }

  #opened(source: SourceFile): OpenFile {
    if (this.#open?.source.path === source.path) return this.#open;
    const other = source.checksum && source.checksum.algorithm !== 'sha256';
    return { source, own: this.#newHash(), declared: other ? this.#newHash() : undefined, parts: [] };
  }

  /** Those that go over a whole file. */
  #wholeHashes({ source, own, declared }: OpenFile, last: boolean): FileHash[] {
    const total = source.size;
    const hashes: FileHash[] = [{ id: own, algorithm: 'sha256', total, last }];
    if (declared !== undefined && source.checksum)
      hashes.push({ id: declared, algorithm: source.checksum.algorithm, total, last });
    return hashes;
  }

  /** What the hashes of a batch came to: files that ended in it are known, and checked. */
  async #finish(sent: readonly Sent[], { hexes }: BatchResult, volume: number, record: VolumeRecord): Promise<void> {
    for (const { file, member, part } of sent) {
      const place: Part = { volume, offset: dataOffset(member), size: member.size };
      file.parts.push(part === undefined ? place : { ...place, digest: `sha256:${hexOf(hexes, part)}` });
      if (member.start + member.size >= file.source.size) record.blobs.push(await this.#blob(file, hexes));
    }
  }

  /**
   * The hash of a file that an earlier run had begun cannot be kept: its first bytes go through it once more.
   * @throws E_DIGEST_MISMATCH when they are not what that run has written
   */
  async #goOn(source: SourceFile): Promise<void> {
    const file = this.#opened(source);
    const begun = this.#earlier.at(-1)?.open.find(({ path }) => path === source.path);
    let start = 0;
    for (const part of begun?.parts ?? []) {
      const { size } = part;
      const id = this.#newHash();
      const hashes: FileHash[] = [
        ...this.#wholeHashes(file, false),
        { id, algorithm: 'sha256', total: size, last: true },
      ];
      const range = { path: this.#placeOf(source), start, size, hashes };
      const { hexes } = await this.#thread.run({ literal: new Uint8Array(), steps: [{ literal: 0, range }] });
      if (`sha256:${hexOf(hexes, id)}` !== part.digest) throw await this.#changedSince(source, part);
      start += size;
      file.parts.push(part);
    }
    this.#open = file;
  }

  async #changedSince({ path }: SourceFile, part: Part): Promise<MirrorError> {
    const name = this.#earlier.find(({ open: begun }) =>
      begun.some(({ parts }) => parts.at(-1)?.volume === part.volume),
    );
    await this.#forgetEarlier(path);
    return new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${path}\` in the store is not what an earlier run has put into \`${name?.volume.name ?? ''}\``,
      {
        hint: 'run the same command again: it begins anew with the first volume of that file',
        at: { side: 'source', item: path },
      },
    );
  }

  /** What earlier volumes have of a file that turned out wrong is wrong as well: the next run must not go on after it. */
  async #forgetEarlier(path: string): Promise<void> {
    const wrong = this.#earlier.filter((record) => record.open.some((each) => each.path === path));
    await this.#options.journal?.forget(new Set(wrong.map(({ volume }) => volume.name)));
  }

  /** @throws E_DIGEST_MISMATCH when the store is damaged */
  async #blob({ source, own, declared, parts }: OpenFile, hexes: BatchResult['hexes']): Promise<BundleBlob> {
    const { path, size, checksum } = source;
    const hex = hexOf(hexes, declared ?? own);
    if (!checksum || hex === checksum.hex) return { path, digest: `sha256:${hexOf(hexes, own)}`, size, parts };
    await this.#forgetEarlier(path);
    throw new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${path}\` in the store has digest \`${formatChecksum({ algorithm: checksum.algorithm, hex })}\`, wanted \`${formatChecksum(checksum)}\``,
      {
        hint:
          source.hint ??
          `delete \`${this.#placeOf(source)}\` and fetch it again with \`sie-mirror pull\`, \`snapshot\` or \`copy\``,
        at: { side: 'source', item: path },
      },
    );
  }

  #newHash(): number {
    this.#hashes += 1;
    return this.#hashes;
  }
}

function hexOf(hexes: BatchResult['hexes'], id: number): string {
  const hex = hexes.get(id);
  if (hex === undefined) throw new MirrorError('E_INTERNAL', `hash ${id} has not ended`);
  return hex;
}
