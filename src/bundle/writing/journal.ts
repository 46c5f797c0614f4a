import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Digest } from '../../core/digest.ts';
import { toMirrorError } from '../../core/errors.ts';
import { writeFileAtomic } from '../../fs/atomic.ts';
import { parseLongLists } from '../records/inventory-parse.ts';
import { lineChunks } from '../records/inventory-text.ts';
import type { PackedList } from '../lists/long-list.ts';
import type { BundleBlob, BundleLink, BundleVolume, Part } from '../records/inventory.ts';

const lineFeed = 0x0a;

/** What one finished volume brought, and the files that go on in the next one. */
export interface VolumeRecord {
  volume: BundleVolume;
  blobs: PackedList<BundleBlob>;
  links: PackedList<BundleLink>;
  open: { path: string; parts: Part[] }[];
}

/**
 * Which volumes of a bundle are finished, so that a run that was broken off goes on with the others. It is kept with
 * the store and never on the medium: whoever can change the medium must not be able to say what is on it.
 */
export class VolumeJournal {
  readonly #path: string;
  readonly #plan: Digest;
  readonly #done: VolumeRecord[];
  #isFull = false;
  #turn: Promise<void> = Promise.resolve();

  private constructor(path: string, plan: Digest, done: VolumeRecord[]) {
    this.#path = path;
    this.#plan = plan;
    this.#done = done;
  }

  /** In the order in which they were finished. */
  get done(): readonly VolumeRecord[] {
    return this.#done;
  }

  /**
   * @param plan digest of everything that decides what the volumes hold; a journal of another plan is begun anew
   * @returns undefined where nothing can be written: the bundle is then made without one
   */
  static async open(path: string, plan: Digest): Promise<VolumeJournal | undefined> {
    const text = await readFile(path).catch(() => Buffer.alloc(0));
    const done = readRecords(text, plan);
    const journal = new VolumeJournal(path, plan, done ?? []);
    if (done && text.at(-1) === lineFeed) return journal;
    try {
      // Also after a last line that was cut off: what is added would be joined to it.
      await journal.#write();
    } catch (error) {
      if (['E_REFUSED', 'E_NO_SPACE'].includes(toMirrorError(error).code)) return undefined;
      throw error;
    }
    return journal;
  }

  /** The volume is on its medium. Where there is no room to note it, a later run writes it again. */
  async add(record: VolumeRecord): Promise<void> {
    this.#done.push(record);
    // What came after a line that was cut off would be joined to it.
    await this.#note(() => writeFile(this.#path, lineChunks(record), { flag: 'a', flush: true }));
  }

  /** Forgets volumes, by name: they have to be written again. */
  async forget(names: ReadonlySet<string>): Promise<void> {
    const kept = this.#done.filter(({ volume }) => !names.has(volume.name));
    if (kept.length === this.#done.length) return;
    this.#done.splice(0, Number.POSITIVE_INFINITY, ...kept);
    // It can be written to no more, and what it says is not so any more.
    if (this.#isFull) await this.remove();
    await this.#note(async () => {
      try {
        await this.#write();
      } catch (error) {
        if (isFull(error)) await this.remove();
        throw error;
      }
    });
  }

  /** One after the other, as several volumes may be finished at a time. */
  async #note(write: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(async () => {
      if (this.#isFull) return;
      try {
        await write();
      } catch (error) {
        if (!isFull(error)) throw error;
        this.#isFull = true;
      }
    });
    this.#turn = turn.catch(() => {});
    await turn;
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  async #write(): Promise<void> {
    await writeFileAtomic(this.#path, this.#lines());
  }

  *#lines(): Generator<Buffer> {
    yield Buffer.from(`${this.#plan}\n`);
    for (const record of this.#done) yield* lineChunks(record);
  }
}

function isFull(error: unknown): boolean {
  return toMirrorError(error).code === 'E_NO_SPACE';
}

/** Undefined when it is the journal of another plan, or damaged. */
function readRecords(text: Buffer, plan: Digest): VolumeRecord[] | undefined {
  const first = `${plan}\n`;
  if (text.toString('latin1', 0, first.length) !== first) return undefined;
  const records: VolumeRecord[] = [];
  try {
    // The last line ends with a line feed, or it was cut off.
    for (let start = first.length, end; (end = text.indexOf('\n', start)) >= 0; start = end + 1)
      records.push(parseLongLists([text.subarray(start, end)], 'journal') as VolumeRecord);
    return records;
  } catch {
    return undefined;
  }
}
