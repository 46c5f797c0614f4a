import { posix } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import { formatBytes, printable } from '../../core/text.ts';
import { type LongList, PackedList } from '../lists/long-list.ts';
import type { SourceFile } from './source-file.ts';
import { endBytes, paddingOf, tarHeader, tarHeaderSize } from './tar-header.ts';

/** What is to be put into a bundle: a regular file, or a symbolic link. */
export type LayoutEntry = SourceFile | { path: string; link: string };

/** A member of a volume in its place: a file, or a part of one. */
export interface FileMember {
  kind: 'file';
  source: SourceFile;
  name: string;
  headerBytes: number;
  /** Of the header. */
  offset: number;
  /** Of the member. */
  size: number;
  /** In the file. */
  start: number;
  split: boolean;
}

export type Member = FileMember | { kind: 'link'; path: string; target: string; headerBytes: number; offset: number };

export interface VolumePlan {
  name: string;
  members: LongList<Member>;
  size: number;
}

/** The default: the largest file of FAT32. */
export const defaultVolumeSize = 4 * 1024 ** 3 - 1;
const smallestVolume = 64 * 1024;
/** Four digits: with a fifth, names would no longer sort in the order in which `cat` has to join them. */
const maxParts = 9999;
/** The most that file systems give a name. */
const mostNameBytes = 255;

/** Where a member's bytes begin. */
export function dataOffset(member: Member): number {
  return member.offset + member.headerBytes;
}

/** Made again when it is needed: a volume may have a hundred thousand members. */
export function headerOf(member: Member): Buffer {
  return member.kind === 'link'
    ? tarHeader({ path: member.path, link: member.target })
    : tarHeader({ path: member.name, size: member.size });
}

/**
 * Computes every volume from names and sizes alone, before a byte is read: entries in the given order, a new volume
 * where the next one does not fit, and only what is larger than a volume in parts.
 * @throws E_USAGE when the volume size is too small to hold anything, a file in at most 9999 parts, or one whose name is too long for parts
 */
export function planVolumes(name: string, entries: Iterable<LayoutEntry>, volumeSize: number): VolumePlan[] {
  if (!(volumeSize >= smallestVolume))
    throw new MirrorError('E_USAGE', `a volume size of ${formatBytes(volumeSize)} is too small`, {
      hint: `give at least ${formatBytes(smallestVolume)}`,
    });
  const planner = new Planner(name, volumeSize);
  for (const entry of entries) {
    if ('link' in entry) planner.link(entry.path, entry.link);
    else planner.file(entry);
  }
  return planner.finish();
}

class Planner {
  readonly #name: string;
  readonly #limit: number;
  readonly #volumes: VolumePlan[] = [];
  #members = new PackedList<Member>();
  #offset = 0;

  constructor(name: string, volumeSize: number) {
    this.#name = name;
    // Whole blocks only, and room for the end.
    this.#limit = Math.floor(volumeSize / 512) * 512 - endBytes;
  }

  link(path: string, target: string): void {
    const headerBytes = tarHeaderSize({ path, link: target });
    this.#makeRoom(headerBytes);
    this.#members.push({ kind: 'link', path, target, headerBytes, offset: this.#offset });
    this.#offset += headerBytes;
  }

  file(source: SourceFile): void {
    const { path, size } = source;
    const headerBytes = tarHeaderSize({ path, size });
    if (headerBytes + size + paddingOf(size) > this.#limit) this.#split(source);
    else this.#file({ source, name: path, headerBytes, size, start: 0, split: false });
  }

  #split(source: SourceFile): void {
    const { path, size } = source;
    this.#close();
    // All names of the parts have one length, so the header of any of them tells how much data fits.
    const most = this.#limit - tarHeaderSize({ path: partName(path, 1, 1), size: this.#limit });
    const count = Math.ceil(size / most);
    if (count > maxParts)
      throw new MirrorError('E_USAGE', `\`${printable(path)}\` would need ${count} volumes, ${maxParts} are the most`, {
        hint: `give \`--volume-size ${Math.ceil(size / maxParts) + smallestVolume}\` or more`,
      });
    if (Buffer.byteLength(posix.basename(partName(path, 1, count))) > mostNameBytes)
      throw new MirrorError('E_USAGE', `the name of \`${printable(path)}\` is too long for a file that is split`, {
        hint: `give \`--volume-size ${size + smallestVolume}\` or more, so that it stays whole: its parts would have longer names, which nobody could unpack`,
      });
    for (let index = 0; index < count; index += 1) {
      const start = index * most;
      const length = Math.min(most, size - start);
      const name = partName(path, index + 1, count);
      const headerBytes = tarHeaderSize({ path: name, size: length });
      this.#file({ source, name, headerBytes, size: length, start, split: true });
    }
  }

  #file(member: Omit<FileMember, 'kind' | 'offset'>): void {
    const length = member.headerBytes + member.size + paddingOf(member.size);
    this.#makeRoom(length);
    this.#members.push({ kind: 'file', offset: this.#offset, ...member });
    this.#offset += length;
  }

  #makeRoom(length: number): void {
    if (this.#offset + length > this.#limit) this.#close();
  }

  #close(): void {
    if (this.#members.length === 0) return;
    const name = `${this.#name}.${String(this.#volumes.length + 1).padStart(4, '0')}.tar`;
    this.#volumes.push({ name, members: this.#members, size: this.#offset + endBytes });
    this.#members = new PackedList();
    this.#offset = 0;
  }

  finish(): VolumePlan[] {
    this.#close();
    return this.#volumes;
  }
}

/** Volumes in their order, in groups: those that have parts of one file follow each other, any others do not depend on each other. */
export function chainsOf(volumes: readonly VolumePlan[]): VolumePlan[][] {
  const chains: VolumePlan[][] = [];
  for (const volume of volumes) {
    const first = volume.members.at(0);
    const goesOn = first?.kind === 'file' && first.start > 0;
    if (goesOn) chains.at(-1)?.push(volume);
    else chains.push([volume]);
  }
  return chains;
}

/** `weights.part-0001-of-0003`: in this order `cat` joins them. */
export function partName(path: string, number: number, count: number): string {
  return `${path}.part-${String(number).padStart(4, '0')}-of-${String(count).padStart(4, '0')}`;
}
