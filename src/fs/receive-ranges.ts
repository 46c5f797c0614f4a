import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatChecksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { forEachLimited } from '../core/limit.ts';
import type { Content } from '../core/ports.ts';
import type { Expectation } from '../core/stream.ts';
import { namePath, partialSuffix } from './atomic.ts';
import { BatchWriter } from './batch-writer.ts';
import { TailHash } from './tail-hash.ts';

export interface RangesOptions {
  signal?: AbortSignal | undefined;
  /** How many bytes of the file are there that were not before, those of an earlier run included. */
  onBytes?: ((bytes: number) => void) | undefined;
  /** Bytes of one range; all but the last have so many. */
  rangeBytes?: number;
  /** Ranges at once. */
  lanes?: number;
}

/** What breaks off is at most this much a lane. */
const defaultRangeBytes = 16 * 1024 * 1024;
const defaultLanes = 4;

/** Bytes of the file beside `path` that ranges go to, and the file that says which of them are whole. */
export function rangePlaces(path: string): { partial: string; journal: string } {
  return { partial: `${path}.ranges${partialSuffix}`, journal: `${path}.journal${partialSuffix}` };
}

/**
 * Receives a big file by several ranges at once, hashed from the start in a thread behind the place up to which it is
 * whole. Ranges go to `PATH.ranges.partial`; `PATH.journal.partial` has a line of JSON that says what file this is and how
 * large a range is, and then a line with the number of each range whose bytes have all been written. So a run that was
 * killed goes on with what is missing; should a power cut have kept the journal and lost bytes, the hash tells.
 * @param part the bytes from one offset to another
 * @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH, and what `part` throws
 */
export async function receiveRanges(
  path: string,
  part: (from: number, to: number) => Content,
  expected: Expectation,
  options: RangesOptions = {},
): Promise<void> {
  const { partial, journal } = rangePlaces(path);
  const { rangeBytes = defaultRangeBytes } = options;
  const wanted = formatChecksum(expected.checksum);
  await mkdir(dirname(path), { recursive: true });
  const head = JSON.stringify({ size: expected.size, checksum: wanted, rangeBytes });
  const progress = new Progress(expected.size, rangeBytes, await readJournal(journal, partial, head));
  try {
    const found = await receiveMissing({ partial, journal, head, expected, progress }, part, options);
    if (found !== wanted) {
      await Promise.all([rm(partial, { force: true }), rm(journal, { force: true })]);
      throw new MirrorError('E_DIGEST_MISMATCH', `\`${expected.item}\` has digest \`${found}\`, wanted \`${wanted}\``);
    }
  } catch (error) {
    throw namePath(error, partial);
  }
  await rename(partial, path);
  await rm(journal, { force: true });
}

/** Which ranges are there, and up to where the file is whole. */
class Progress {
  readonly #size: number;
  readonly #rangeBytes: number;
  readonly #done: Set<number>;
  /** Bytes that are written of those that are not whole. */
  readonly #begun = new Map<number, number>();
  #whole = 0;

  constructor(size: number, rangeBytes: number, done: Set<number>) {
    this.#size = size;
    this.#rangeBytes = rangeBytes;
    this.#done = done;
  }

  get count(): number {
    return Math.ceil(this.#size / this.#rangeBytes);
  }

  missing(): number[] {
    return Array.from({ length: this.count }, (_, index) => index).filter((index) => !this.#done.has(index));
  }

  bounds(index: number): { from: number; to: number } {
    return { from: index * this.#rangeBytes, to: Math.min((index + 1) * this.#rangeBytes, this.#size) };
  }

  /** So many bytes of a range are written. */
  note(index: number, bytes: number): void {
    this.#begun.set(index, bytes);
  }

  add(index: number): void {
    this.#done.add(index);
    this.#begun.delete(index);
  }

  /** Bytes from the start of the file that are all there. */
  wholeBytes(): number {
    while (this.#done.has(this.#whole)) this.#whole += 1;
    return Math.min(this.#whole * this.#rangeBytes + (this.#begun.get(this.#whole) ?? 0), this.#size);
  }

  doneBytes(): number {
    return [...this.#done].reduce((sum, index) => sum + this.bounds(index).to - this.bounds(index).from, 0);
  }
}

/** A file that is being received by its ranges. */
interface RangedFile {
  partial: string;
  journal: string;
  /** First line of the journal. */
  head: string;
  expected: Expectation;
  progress: Progress;
}

/** @returns the checksum of the whole */
async function receiveMissing(
  { partial, journal, head, expected, progress }: RangedFile,
  part: (from: number, to: number) => Content,
  options: RangesOptions,
): Promise<string> {
  const isFresh = progress.doneBytes() === 0;
  await using file = await open(partial, isFresh ? 'w+' : 'r+', 0o644);
  await using log = await open(journal, isFresh ? 'w' : 'a', 0o644);
  if (isFresh) await log.write(`${head}\n`);
  await using hash = new TailHash(partial, expected.checksum.algorithm, expected.size);
  options.onBytes?.(progress.doneBytes());
  hash.advance(progress.wholeBytes());
  await forEachLimited(progress.missing(), options.lanes ?? defaultLanes, async (index) => {
    options.signal?.throwIfAborted();
    const { from, to } = progress.bounds(index);
    await writeRange(file, from, part(from, to), expected.item, options, (bytes) => {
      progress.note(index, bytes);
      hash.advance(progress.wholeBytes());
    });
    await log.write(`${index}\n`);
    progress.add(index);
    hash.advance(progress.wholeBytes());
  });
  const hex = await hash.finish();
  await file.sync();
  return formatChecksum({ ...expected.checksum, hex });
}

async function writeRange(
  file: FileHandle,
  from: number,
  content: Content,
  item: string,
  { signal, onBytes }: RangesOptions,
  onWritten: (bytes: number) => void,
): Promise<void> {
  const writer = new BatchWriter(file, from);
  let seen = 0;
  for await (const chunk of content.open(0, signal)) {
    seen += chunk.length;
    // A range that is too long would run over its neighbour.
    if (seen > content.size)
      throw new MirrorError(
        'E_SIZE_MISMATCH',
        `a range of \`${item}\` is longer than the ${content.size} bytes that were wanted`,
      );
    await writer.write(chunk);
    onBytes?.(chunk.length);
    onWritten(writer.position - from);
  }
  await writer.flush();
  if (seen < content.size)
    throw new MirrorError('E_SIZE_MISMATCH', `a range of \`${item}\` has ${seen} bytes, ${content.size} were wanted`);
}

/** Ranges that are whole; none when the journal is that of another file, or its file is gone. */
async function readJournal(journal: string, partial: string, head: string): Promise<Set<number>> {
  const text = await readFile(journal, 'utf8').catch(() => '');
  // The last line may have been cut by whatever ended that run.
  const [first, ...lines] = text.split('\n').slice(0, -1);
  const isThere = await open(partial, 'r').then(
    (file) => file.close().then(() => true),
    () => false,
  );
  if (first !== head || !isThere) return new Set();
  const { size, rangeBytes } = JSON.parse(head) as { size: number; rangeBytes: number };
  return new Set(
    lines
      .filter((line) => /^\d+$/.test(line))
      .map(Number)
      .filter((index) => index * rangeBytes < size),
  );
}
