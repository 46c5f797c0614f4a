import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Checksum, type Digest, formatChecksum, openHash } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { Reporter } from '../core/events.ts';
import { BatchWriter, namePath, partialSuffix } from '../fs/atomic.ts';
import { fileContent } from '../fs/read.ts';
import type { BundleBlob, BundleLink, BundleVolume, Part } from './inventory.ts';
import { dataOffset, type VolumePlan } from './layout.ts';
import { endBytes, paddingOf } from './tar-header.ts';

/** A regular file on its way into a bundle. */
export interface SourceFile {
  path: string;
  /** On disk. */
  from: string;
  size: number;
  /** What the store says that its bytes are, where it says so: a rotten store is caught here. */
  checksum?: Checksum | undefined;
}

export interface WrittenVolumes {
  blobs: BundleBlob[];
  links: BundleLink[];
  volumes: BundleVolume[];
}

/**
 * Writes the planned volumes into a directory: each byte is read once, hashed for its file and for its volume, and
 * written once. A volume gets its final name when it is whole and on the medium.
 * @throws E_DIGEST_MISMATCH for a store that is damaged, E_NO_SPACE
 */
export async function writeVolumes(
  directory: string,
  plans: readonly VolumePlan[],
  files: readonly SourceFile[],
  options: { report: Reporter; signal?: AbortSignal | undefined },
): Promise<WrittenVolumes> {
  const written: WrittenVolumes = { blobs: [], links: [], volumes: [] };
  const sources = new Sources(files, written.blobs);
  for (const [index, plan] of plans.entries()) {
    const volume = new VolumeWriter(directory, plan, index + 1, sources, options);
    written.volumes.push(await volume.write(written.links));
  }
  return written;
}

/** The files by their path in the bundle; a reader lives from a file's first part to its last. */
class Sources {
  readonly #files: ReadonlyMap<string, SourceFile>;
  readonly #blobs: BundleBlob[];
  readonly #open = new Map<string, SourceReader>();

  constructor(files: readonly SourceFile[], blobs: BundleBlob[]) {
    this.#files = new Map(files.map((file) => [file.path, file]));
    this.#blobs = blobs;
  }

  async *read(
    path: string,
    start: number,
    part: Part,
    split: boolean,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const file = this.#files.get(path);
    if (!file) throw new MirrorError('E_INTERNAL', `no source for \`${path}\``);
    const reader = this.#open.get(path) ?? new SourceReader(file);
    this.#open.set(path, reader);
    yield* reader.read(start, part, split, signal);
    if (start + part.size < file.size) return;
    this.#open.delete(path);
    this.#blobs.push(reader.finish());
  }
}

/** One file, read front to back, maybe over several volumes. */
class SourceReader {
  readonly #file: SourceFile;
  readonly #own: Hash;
  readonly #declared: Hash | undefined;
  readonly #parts: Part[] = [];

  constructor(file: SourceFile) {
    this.#file = file;
    this.#own = createHash('sha256');
    // A sha256 that is declared is the same hash as our own.
    this.#declared =
      file.checksum && file.checksum.algorithm !== 'sha256' ? openHash(file.checksum.algorithm, file.size) : undefined;
  }

  async *read(start: number, part: Part, split: boolean, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    const partHash = split ? createHash('sha256') : undefined;
    for await (const chunk of fileContent([{ path: this.#file.from, offset: start, size: part.size }]).open(
      0,
      signal,
    )) {
      this.#own.update(chunk);
      this.#declared?.update(chunk);
      partHash?.update(chunk);
      yield chunk;
    }
    this.#parts.push(partHash ? { ...part, digest: `sha256:${partHash.digest('hex')}` } : part);
  }

  finish(): BundleBlob {
    const { path, size, checksum } = this.#file;
    const digest: Digest = `sha256:${this.#own.digest('hex')}`;
    if (checksum) {
      const found = {
        algorithm: checksum.algorithm,
        hex: this.#declared?.digest('hex') ?? digest.slice('sha256:'.length),
      };
      if (found.hex !== checksum.hex)
        throw new MirrorError(
          'E_DIGEST_MISMATCH',
          `\`${path}\` in the store has digest \`${formatChecksum(found)}\`, wanted \`${formatChecksum(checksum)}\``,
          {
            hint: `delete \`${this.#file.from}\` and fetch it again with \`sie-mirror pull\`, \`snapshot\` or \`copy\``,
            at: { side: 'source', item: path },
          },
        );
    }
    return { path, digest, size, parts: this.#parts };
  }
}

class VolumeWriter {
  readonly #path: string;
  readonly #plan: VolumePlan;
  readonly #number: number;
  readonly #sources: Sources;
  readonly #options: { report: Reporter; signal?: AbortSignal | undefined };
  readonly #hash = createHash('sha256');

  constructor(
    directory: string,
    plan: VolumePlan,
    number: number,
    sources: Sources,
    options: { report: Reporter; signal?: AbortSignal | undefined },
  ) {
    this.#path = join(directory, plan.name);
    this.#plan = plan;
    this.#number = number;
    this.#sources = sources;
    this.#options = options;
  }

  async write(links: BundleLink[]): Promise<BundleVolume> {
    const partial = `${this.#path}${partialSuffix}`;
    const file = await open(partial, 'w', 0o644);
    try {
      await this.#members(file, links);
      await file.sync();
    } catch (error) {
      throw namePath(error, this.#path);
    } finally {
      await file.close();
    }
    await rename(partial, this.#path);
    return { name: this.#plan.name, size: this.#plan.size, digest: `sha256:${this.#hash.digest('hex')}` };
  }

  async #members(file: FileHandle, links: BundleLink[]): Promise<void> {
    const writer = new BatchWriter(file, 0);
    const put = async (bytes: Uint8Array): Promise<void> => {
      this.#hash.update(bytes);
      await writer.write(bytes);
    };
    for (const member of this.#plan.members) {
      await put(member.header);
      if (member.kind === 'link') {
        links.push({ path: member.path, target: member.target, volume: this.#number, offset: member.offset });
        continue;
      }
      const part = { volume: this.#number, offset: dataOffset(member), size: member.size };
      for await (const chunk of this.#sources.read(
        member.path,
        member.start,
        part,
        member.split,
        this.#options.signal,
      )) {
        await put(chunk);
        this.#options.report({ type: 'bytes', bytes: chunk.length });
      }
      await put(Buffer.alloc(paddingOf(member.size)));
    }
    await put(Buffer.alloc(endBytes));
    await writer.flush();
  }
}
