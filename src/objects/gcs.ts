import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { digestHex, isDigest } from '../core/digest.ts';
import { isAbort, MirrorError } from '../core/errors.ts';
import { Budget } from '../core/limit.ts';
import type { Content, ObjectBytes, ObjectState, ObjectStore } from '../core/ports.ts';
import { type Expectation, expectationOf, readVerified, verified } from '../core/stream.ts';
import { resuming, type RetryOptions, retrying } from '../http/retry.ts';
import { translateGcs } from './gcs-error.ts';
import { type GcsFile, type GcsMetadata, type LoadedGcs, loadGcs } from './gcs-sdk.ts';

export interface GcsOptions {
  bucket: string;
  /** Without slashes at its ends; empty for the whole bucket. */
  prefix: string;
  /** Where the service is reached, if not at storage.googleapis.com; without a slash at its end. */
  endpoint?: string | undefined;
  retry: RetryOptions;
}

const mebi = 1024 * 1024;
/** Up to this an object goes in one request, whole in memory. */
const singleLimit = 8 * mebi;
/** Of a larger one so much is kept in memory, to be sent again. */
const chunkSize = 8 * mebi;
/** Bytes of bodies at once, for all objects together; the client keeps about as much again for each. */
const flightBytes = 24 * mebi;

/**
 * Google Cloud Storage, by Google's own client. The sha256 of an object stands in its metadata; its version is its
 * generation. https://cloud.google.com/storage/docs/json_api/v1
 */
export class GcsStore implements ObjectStore {
  readonly name: string;
  readonly pageSize = 1000;
  readonly #options: GcsOptions;
  readonly #flight = new Budget(flightBytes);
  #loaded: Promise<LoadedGcs> | undefined;

  constructor(options: GcsOptions) {
    this.#options = options;
    this.name = `gs://${options.bucket}${options.prefix === '' ? '' : `/${options.prefix}`}`;
  }

  async head(key: string): Promise<ObjectState | undefined> {
    const file = await this.#file(key);
    return this.#try(key, 'storage.objects.get', async () => {
      try {
        const [metadata] = await file.getMetadata();
        return stateOf(key, metadata);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
  }

  async put(
    key: string,
    content: Content,
    expected: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<Pick<ObjectState, 'version'>> {
    const { size, digest } = expected;
    const expectation = expectationOf(expected, key);
    const metadata = { contentType: 'application/octet-stream', metadata: { sha256: digestHex(digest) } };
    const held = Math.min(size, chunkSize);
    await this.#flight.take(held);
    try {
      const stored =
        size <= singleLimit
          ? await this.#putWhole(key, content, expectation, metadata, signal)
          : await this.#putChunks(key, content, expectation, metadata, signal);
      return { version: versionOf(stored) };
    } finally {
      this.#flight.give(held);
    }
  }

  async get(key: string): Promise<Content | undefined> {
    const state = await this.head(key);
    return state && this.content(key, state.size);
  }

  content(key: string, size: number): Content {
    const find = (): Promise<GcsFile> => this.#file(key);
    const translate = (error: unknown): MirrorError => this.#translate(error, key, 'storage.objects.get');
    const plain: Content = {
      size,
      async *open(offset, signal) {
        // A range that begins at the end is refused.
        if (offset >= size && offset > 0) return;
        const file = await find();
        const stream = file.createReadStream({
          ...(offset > 0 ? { start: offset } : {}),
          validation: false,
          decompress: false,
        });
        const stop = (): void => void stream.destroy(signal?.reason as Error);
        signal?.addEventListener('abort', stop, { once: true });
        try {
          for await (const chunk of stream) yield chunk as Buffer;
        } catch (error) {
          throw translate(error);
        } finally {
          signal?.removeEventListener('abort', stop);
          stream.destroy();
        }
      },
    };
    return resuming(plain, this.#options.retry);
  }

  async copy(from: string, to: string, _size: number, signal?: AbortSignal): Promise<void> {
    const source = await this.#file(from);
    const target = await this.#file(to);
    await this.#try(from, 'storage.objects.create', () => source.copy(target), signal);
  }

  async remove(key: string): Promise<void> {
    const file = await this.#file(key);
    await this.#try(key, 'storage.objects.delete', () => file.delete({ ignoreNotFound: true }));
  }

  async *list(prefix: string): AsyncGenerator<ObjectState> {
    const { bucket } = await this.#load();
    const base = this.#key('');
    let query: { pageToken?: string } | undefined = {};
    while (query) {
      const { pageToken } = query;
      const page = {
        prefix: `${base}${prefix}`,
        autoPaginate: false,
        ...(pageToken === undefined ? {} : { pageToken }),
      };
      const [files, next] = await this.#try(prefix, 'storage.objects.list', () => bucket.getFiles(page));
      for (const { name, metadata } of files) yield stateOf(name.slice(base.length), metadata);
      query = next as { pageToken?: string } | undefined;
    }
  }

  /** The service itself refuses a body that is not of this MD5. */
  async #putWhole(
    key: string,
    content: Content,
    expectation: Expectation,
    metadata: GcsMetadata,
    signal: AbortSignal | undefined,
  ): Promise<GcsFile> {
    const body = await readVerified(content, expectation, signal);
    const md5Hash = createHash('md5').update(body).digest('base64');
    const file = await this.#file(key);
    const send = async (): Promise<void> => {
      signal?.throwIfAborted();
      await file.save(body, { resumable: false, validation: false, metadata: { ...metadata, md5Hash } });
    };
    await this.#try(key, 'storage.objects.create', send, signal);
    return file;
  }

  /** The last bytes are handed over, and the object becomes visible, only after the digest of all has held. */
  async #putChunks(
    key: string,
    content: Content,
    expectation: Expectation,
    metadata: GcsMetadata,
    signal: AbortSignal | undefined,
  ): Promise<GcsFile> {
    const { uploads } = await this.#load();
    const file = uploads.file(this.#key(key));
    const broken: { error?: unknown } = {};
    const bytes = watched(verified(content.open(0, signal), expectation), broken);
    const target = file.createWriteStream({ resumable: true, chunkSize, validation: 'md5', metadata });
    try {
      await pipeline(Readable.from(bytes, { objectMode: false }), target, signal ? { signal } : {});
    } catch (error) {
      throw broken.error ?? this.#translate(error, key, 'storage.objects.create');
    }
    return file;
  }

  #key(key: string): string {
    return this.#options.prefix === '' ? key : `${this.#options.prefix}/${key}`;
  }

  async #file(key: string): Promise<GcsFile> {
    return (await this.#load()).bucket.file(this.#key(key));
  }

  async #try<T>(key: string, action: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return retrying(
      async () => {
        try {
          return await work();
        } catch (error) {
          throw this.#translate(error, key, action);
        }
      },
      this.#options.retry,
      signal,
    );
  }

  #translate(error: unknown, key: string, action: string): MirrorError {
    if (error instanceof MirrorError) return error;
    const at = { side: 'target', item: `gs://${this.#options.bucket}/${this.#key(key)}` } as const;
    if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { at, cause: error });
    return translateGcs(error, this.#options.bucket, action, at);
  }

  #load(): Promise<LoadedGcs> {
    this.#loaded ??= loadGcs(this.#options.bucket, this.#options.retry, this.#options.endpoint);
    return this.#loaded;
  }
}

function stateOf(key: string, metadata: GcsMetadata): ObjectState {
  const digest = `sha256:${String(metadata.metadata?.['sha256'])}`;
  return {
    key,
    size: Number(metadata.size ?? 0),
    digest: isDigest(digest) ? digest : undefined,
    version: metadata.generation === undefined ? undefined : String(metadata.generation),
  };
}

function versionOf({ metadata }: GcsFile): string | undefined {
  return metadata.generation === undefined ? undefined : String(metadata.generation);
}

function isMissing(error: unknown): boolean {
  const { code, message = '' } = error as { code?: unknown; message?: string };
  // A bucket that is not there is another matter.
  return code === 404 && !/bucket does not exist/i.test(message);
}

/** Keeps what the bytes failed with: a stream tells its own story of it. */
async function* watched(bytes: AsyncIterable<Uint8Array>, broken: { error?: unknown }): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    broken.error = error;
    throw error;
  }
}
