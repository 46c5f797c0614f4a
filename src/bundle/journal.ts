import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { toMirrorError } from '../core/errors.ts';
import type { BundleBlob, BundleLink, BundleVolume, Part } from './inventory.ts';

/** What one finished volume brought, and the files that go on in the next one. */
export interface VolumeRecord {
  volume: BundleVolume;
  blobs: BundleBlob[];
  links: BundleLink[];
  open: { path: string; parts: Part[] }[];
}

/**
 * Which volumes of a bundle are finished, so that a run that was broken off goes on with the next one. It is kept with
 * the store and never on the medium: whoever can change the medium must not be able to say what is on it.
 */
export class VolumeJournal {
  readonly #path: string;
  /** In order, from the first volume on. */
  readonly done: readonly VolumeRecord[];

  private constructor(path: string, done: readonly VolumeRecord[]) {
    this.#path = path;
    this.done = done;
  }

  /**
   * @param plan digest of everything that decides what the volumes hold; a journal of another plan is begun anew
   * @returns undefined where nothing can be written: the bundle is then made without one
   */
  static async open(path: string, plan: Digest): Promise<VolumeJournal | undefined> {
    const records = readRecords(await readFile(path, 'utf8').catch(() => ''), plan);
    if (records) return new VolumeJournal(path, records);
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, `${plan}\n`);
    } catch (error) {
      if (toMirrorError(error).code === 'E_REFUSED') return undefined;
      throw error;
    }
    return new VolumeJournal(path, []);
  }

  /** The volume is on its medium. */
  async add(record: VolumeRecord): Promise<void> {
    await appendFile(this.#path, `${JSON.stringify(record)}\n`, { flush: true });
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

/** Undefined when it is the journal of another plan, or damaged. */
function readRecords(text: string, plan: Digest): VolumeRecord[] | undefined {
  const [first, ...lines] = text.split('\n');
  if (first !== plan) return undefined;
  try {
    // The last line ends with a line feed, or it was cut off.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as VolumeRecord);
  } catch {
    return undefined;
  }
}
