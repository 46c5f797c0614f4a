import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatChecksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import type { Expectation } from '../core/stream.ts';
import { namePath, partialSuffix } from './atomic.ts';
import { BatchWriter } from './batch-writer.ts';
import { RangeHash } from './range-hash.ts';

export interface RangesOptions {
  signal?: AbortSignal | undefined;
  /** How many bytes of the file are there that were not before, those of an earlier run included. */
  onBytes?: ((bytes: number) => void) | undefined;
  /** Bytes of one range; all but the last have so many. */
  rangeBytes?: number;
  /** Ranges at once, when one after the other is too slow. */
  lanes?: number;
  /** When ranges take longer than this on the average, they get others beside them; 0 has several at once from the start. */
  aloneMs?: number;
}

/** What breaks off is at most this much a lane. */
const defaultRangeBytes = 16 * 1024 * 1024;
const defaultLanes = 4;
/** 400 MiB/s: with so much from one connection the processor is what decides, and several only cost more of it. */
const defaultAloneMs = 40;

/** Bytes of the file beside `path` that ranges go to, and the file that says which of them are whole. */
export function rangePlaces(path: string): { partial: string; journal: string } {
  return { partial: `${path}.ranges${partialSuffix}`, journal: `${path}.journal${partialSuffix}` };
}

/**
 * Receives a big file by ranges: one after the other as long as a connection alone is quick, and several at once from
 * then on. Ranges go to `PATH.ranges.partial`; `PATH.journal.partial` has a line of JSON that says what file this is and how
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
  const { rangeBytes = defaultRangeBytes, lanes = defaultLanes, aloneMs = defaultAloneMs } = options;
  await mkdir(dirname(path), { recursive: true });
  const head = JSON.stringify({ size: expected.size, checksum: formatChecksum(expected.checksum), rangeBytes });
  const progress = new Progress(expected.size, rangeBytes, await readJournal(journal, partial, head));
  try {
    const isRight = await receiveMissing(partial, journal, head, part, expected, progress, {
      ...options,
      lanes,
      aloneMs,
    });
    if (!isRight.ok) {
      await Promise.all([rm(partial, { force: true }), rm(journal, { force: true })]);
      throw new MirrorError(
        'E_DIGEST_MISMATCH',
        `\`${expected.item}\` has digest \`${isRight.found}\`, wanted \`${formatChecksum(expected.checksum)}\``,
      );
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

  add(index: number): void {
    this.#done.add(index);
  }

  /** Bytes from the start of the file that are all there. */
  wholeBytes(): number {
    while (this.#done.has(this.#whole)) this.#whole += 1;
    return Math.min(this.#whole * this.#rangeBytes, this.#size);
  }

  doneBytes(): number {
    return [...this.#done].reduce((sum, index) => sum + this.bounds(index).to - this.bounds(index).from, 0);
  }
}

async function receiveMissing(
  partial: string,
  journal: string,
  head: string,
  part: (from: number, to: number) => Content,
  expected: Expectation,
  progress: Progress,
  options: Required<Pick<RangesOptions, 'lanes' | 'aloneMs'>> & RangesOptions,
): Promise<{ ok: boolean; found: string }> {
  const isFresh = progress.doneBytes() === 0;
  await using file = await open(partial, isFresh ? 'w+' : 'r+', 0o644);
  await using log = await open(journal, isFresh ? 'w' : 'a', 0o644);
  if (isFresh) await log.write(`${head}\n`);
  await using hash = new RangeHash(partial, expected);
  options.onBytes?.(progress.doneBytes());
  const receive = async (index: number): Promise<void> => {
    options.signal?.throwIfAborted();
    const { from, to } = progress.bounds(index);
    await writeRange(file, from, part(from, to), expected.item, hash, options);
    await log.write(`${index}\n`);
    progress.add(index);
    hash.advance(progress.wholeBytes());
  };
  const crowd = (): void => {
    hash.readBack();
    hash.advance(progress.wholeBytes());
  };
  const aloneMs = isFresh ? options.aloneMs : 0;
  if (aloneMs === 0) crowd();
  await inLanes(progress.missing(), { lanes: options.lanes, aloneMs }, receive, crowd);
  const hex = await hash.finish();
  await file.sync();
  return { ok: hex === expected.checksum.hex, found: formatChecksum({ ...expected.checksum, hex }) };
}

/**
 * Works on one item after the other until they have taken longer than `aloneMs` each on the average, and on several at a
 * time from then on, which `crowd` is told of before. The first error stops what has not begun, waits for what has, and is thrown.
 */
async function inLanes<T>(
  items: readonly T[],
  { lanes, aloneMs }: { lanes: number; aloneMs: number },
  work: (item: T) => Promise<void>,
  crowd: () => void,
): Promise<void> {
  const queue = [...items];
  const running: Promise<void>[] = [];
  let failed: { error: unknown } | undefined;
  const begun = performance.now();
  let allowedMs = 0;
  const widen = (): void => {
    if (running.length >= lanes || queue.length === 0) return;
    crowd();
    while (running.length < lanes) running.push(lane());
  };
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined && !failed; item = queue.shift()) {
      allowedMs += aloneMs;
      const late = setTimeout(widen, begun + allowedMs - performance.now());
      try {
        await work(item);
      } catch (error) {
        failed ??= { error };
      } finally {
        clearTimeout(late);
      }
    }
  };
  while (running.length < (aloneMs > 0 ? 1 : lanes)) running.push(lane());
  // More of them may begin while those before are waited for.
  for (const each of running) await each;
  if (failed) throw failed.error;
}

async function writeRange(
  file: FileHandle,
  from: number,
  content: Content,
  item: string,
  hash: RangeHash,
  { signal, onBytes }: RangesOptions,
): Promise<void> {
  const writer = new BatchWriter(file, from);
  let seen = 0;
  for await (const chunk of content.open(0, signal)) {
    seen += chunk.length;
    // A range that is too long would run over its neighbour.
    if (seen > content.size) throw tooLong(item, content.size);
    hash.see(chunk);
    await writer.write(chunk);
    onBytes?.(chunk.length);
  }
  await writer.flush();
  if (seen < content.size)
    throw new MirrorError('E_SIZE_MISMATCH', `a range of \`${item}\` has ${seen} bytes, ${content.size} were wanted`);
}

function tooLong(item: string, size: number): MirrorError {
  return new MirrorError('E_SIZE_MISMATCH', `a range of \`${item}\` is longer than the ${size} bytes that were wanted`);
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
