import { type FileHandle, open } from 'node:fs/promises';
import { MirrorError } from '../core/errors.ts';
import type { HashPiece, HashThread } from '../fs/hash-thread.ts';

/** Which hash the bytes of a file go into, and whether they are its last. */
export type FileHash = Omit<HashPiece, 'start' | 'end'>;

/** Two threads, because each byte is hashed twice: for the volume and for the file that it comes from. */
export interface HashThreads {
  volume: HashThread;
  files: HashThread;
}

/** A buffer that a volume is written through. */
export interface Slot {
  shared: SharedArrayBuffer;
  bytes: Buffer;
  /** Settles when nothing reads the slot any more. */
  free: Promise<void>;
}

const slotBytes = 1024 * 1024;
const slotCount = 6;

/** One set serves all volumes that are written one after the other. */
export function makeSlots(): Slot[] {
  return Array.from({ length: slotCount }, () => {
    const shared = new SharedArrayBuffer(slotBytes);
    return { shared, bytes: Buffer.from(shared), free: Promise.resolve() };
  });
}

/**
 * Fills a volume front to back through a few buffers that take turns: while one is being filled, those before it are
 * hashed and written.
 */
export class VolumeFile {
  readonly #file: FileHandle;
  readonly #threads: HashThreads;
  readonly #hash: Pick<HashPiece, 'id' | 'total'>;
  readonly #slots: readonly Slot[];
  #turn = 0;
  #used = 0;
  #position = 0;
  #pieces: HashPiece[] = [];
  #written: Promise<void> = Promise.resolve();

  /**
   * @param slots that nothing else uses meanwhile
   * @param hash of the whole volume
   */
  constructor(file: FileHandle, slots: readonly Slot[], threads: HashThreads, hash: Pick<HashPiece, 'id' | 'total'>) {
    this.#file = file;
    this.#threads = threads;
    this.#hash = hash;
    this.#slots = slots;
  }

  async put(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const slot = await this.#room();
      const piece = bytes.subarray(done, done + slotBytes - this.#used);
      slot.bytes.set(piece, this.#used);
      this.#used += piece.length;
      done += piece.length;
    }
  }

  /**
   * Puts a piece of a file.
   * @throws E_SIZE_MISMATCH when the file ends early
   */
  async putFile(path: string, start: number, size: number, hashes: readonly FileHash[], sees: Sees): Promise<void> {
    const source = await open(path, 'r');
    try {
      let done = 0;
      do {
        sees.signal?.throwIfAborted();
        const slot = await this.#room();
        const wanted = Math.min(size - done, slotBytes - this.#used);
        const { bytesRead } = await source.read(slot.bytes, this.#used, wanted, start + done);
        if (bytesRead === 0 && wanted > 0) throw endsEarly(path, start + done, start + size);
        done += bytesRead;
        const place = { start: this.#used, end: this.#used + bytesRead };
        for (const hash of hashes) this.#pieces.push({ ...hash, ...place, last: hash.last && done === size });
        this.#used += bytesRead;
        sees.onBytes(bytesRead);
      } while (done < size);
    } finally {
      await source.close();
    }
  }

  /** Waits until everything is written and hashed. */
  async finish(): Promise<void> {
    this.#flush(true);
    await this.settled();
    await Promise.all(this.#slots.map(({ free }) => free));
  }

  /** Waits until nothing touches the file any more, however that ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#slots.map(({ free }) => free));
  }

  /** The slot to fill, with room for a byte at least. */
  async #room(): Promise<Slot> {
    if (this.#used === slotBytes) this.#flush(false);
    const slot = this.#slot();
    if (this.#used === 0) await slot.free;
    return slot;
  }

  #slot(): Slot {
    const slot = this.#slots[this.#turn % slotCount];
    if (!slot) throw new MirrorError('E_INTERNAL', 'a volume has no buffers');
    return slot;
  }

  #flush(last: boolean): void {
    const slot = this.#slot();
    const whole: HashPiece = { ...this.#hash, algorithm: 'sha256', start: 0, end: this.#used, last };
    // One write at a time and in order, which removable media like.
    const position = this.#position;
    this.#written = this.#written.then(() => this.#write(slot.bytes.subarray(0, whole.end), position));
    this.#position += whole.end;
    const { volume, files } = this.#threads;
    slot.free = Promise.all([
      this.#written,
      volume.hash(slot.shared, [whole]),
      files.hash(slot.shared, this.#pieces),
    ]).then(() => {});
    // Seen by whoever fills this slot next, or at the end.
    slot.free.catch(() => {});
    this.#turn += 1;
    this.#used = 0;
    this.#pieces = [];
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    // A disk that fills up writes a part and only then refuses: the next call brings the error.
    for (let done = 0; done < bytes.length;)
      done += (await this.#file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

/** What wants to know of the bytes of files. */
export interface Sees {
  onBytes: (bytes: number) => void;
  signal?: AbortSignal | undefined;
}

function endsEarly(path: string, position: number, end: number): MirrorError {
  return new MirrorError('E_SIZE_MISMATCH', `\`${path}\` ends at byte ${position}, ${end} were wanted`);
}
