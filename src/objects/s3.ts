import { chunkBytes } from '../core/chunk-pool.ts';
import { digestHex } from '../core/digest.ts';
import { Budget } from '../core/limit.ts';
import type { BrokenUpload, Content, ObjectBytes, ObjectState, ObjectStore } from '../core/ports.ts';
import { expectationOf, readVerified } from '../core/stream.ts';
import { resuming } from '../http/retry.ts';
import { PartBuffers } from './part-buffers.ts';
import { S3Bucket, type S3Options, versionOf } from './s3-bucket.ts';
import { copyObject } from './s3-copy.ts';
import { marksPrefix } from './s3-marks.ts';
import { S3Parts } from './s3-parts.ts';

const mebi = 1024 * 1024;
/** Up to this an object goes in one request, whole in memory. */
const singleLimit = 16 * mebi;
/** Bytes of bodies in memory at once, for all objects together. */
const flightBytes = 40 * mebi;

/**
 * S3 and what speaks its protocol. Endpoint, region and credentials come from the AWS chain (environment, profile, web
 * identity). Each request's payload is signed with its sha256, so the store itself refuses bytes that changed on the
 * way; the sha256 of the whole stands in the object's metadata.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly pageSize = 1000;
  readonly #bucket: S3Bucket;
  readonly #flight = new Budget(flightBytes);
  readonly #parts: S3Parts;

  constructor(options: S3Options) {
    this.#bucket = new S3Bucket(options);
    this.#parts = new S3Parts(this.#bucket, new PartBuffers(this.#flight));
    this.name = this.#bucket.name;
  }

  /** The region that the store asked for, where it is not the one of the settings. */
  get followedRegion(): string | undefined {
    return this.#bucket.followedRegion;
  }

  async head(key: string): Promise<ObjectState | undefined> {
    return this.#bucket.send(key, 's3:GetObject', async ({ sdk, client }) => {
      try {
        const found = await client.send(new sdk.HeadObjectCommand(this.#bucket.address(key)));
        const hex = found.Metadata?.['sha256'];
        return {
          key,
          size: found.ContentLength ?? 0,
          digest: hex === undefined ? undefined : `sha256:${hex}`,
          version: versionOf(found.ETag),
        };
      } catch (error) {
        if (
          error instanceof sdk.S3ServiceException &&
          error.$metadata.httpStatusCode === 404 &&
          error.name !== 'NoSuchBucket'
        )
          return undefined;
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
    const isSmall = expected.size <= singleLimit;
    const put = isSmall
      ? await this.#putWhole(key, content, expected, signal)
      : await this.#parts.put(key, content, expected, signal);
    return { version: versionOf(put.ETag) };
  }

  async get(key: string): Promise<Content | undefined> {
    const state = await this.head(key);
    return state && this.content(key, state.size);
  }

  content(key: string, size: number): Content {
    const bucket = this.#bucket;
    const plain: Content = {
      size,
      async *open(offset, signal) {
        // A range that begins at the end is refused by every store.
        if (offset >= size && offset > 0) return;
        const range = offset > 0 ? { Range: `bytes=${offset}-` } : {};
        const { Body } = await bucket.once(
          key,
          's3:GetObject',
          ({ sdk, client }, abort) =>
            client.send(new sdk.GetObjectCommand({ ...bucket.address(key), ...range }), abort),
          signal,
        );
        try {
          yield* Body as AsyncIterable<Uint8Array>;
        } catch (error) {
          throw bucket.translate(error, key, 's3:GetObject');
        }
      },
    };
    return resuming(plain, bucket.retry);
  }

  async copy(from: string, to: string, size: number, signal?: AbortSignal): Promise<void> {
    const [source, target] = [this.#bucket.address(from), this.#bucket.address(to)];
    const work = copyObject.bind(undefined, source, target, size);
    await this.#bucket.send(from, 's3:PutObject', work, signal);
  }

  /** What is not there is fine. @throws E_AUTH */
  async remove(key: string): Promise<void> {
    await this.#bucket.send(key, 's3:DeleteObject', ({ sdk, client }) =>
      client.send(new sdk.DeleteObjectCommand(this.#bucket.address(key))),
    );
  }

  async brokenUploads(): Promise<BrokenUpload[]> {
    const marks = await this.#parts.marks.left();
    return marks.map((mark) => ({ key: mark.key, size: mark.size, end: () => this.#parts.end(mark) }));
  }

  async *list(prefix: string): AsyncGenerator<ObjectState> {
    const marks: ObjectState[] = [];
    for await (const state of this.#bucket.list(prefix))
      if (state.key.startsWith(marksPrefix)) marks.push(state);
      else yield state;
    if (marksPrefix.startsWith(prefix)) this.#parts.marks.seen(marks);
  }

  async #putWhole(
    key: string,
    content: Content,
    expected: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<{ ETag: string | undefined }> {
    await this.#flight.take(expected.size);
    try {
      const payload = digestHex(expected.digest);
      const headers = { 'x-amz-meta-sha256': payload };
      const body = kept(await readVerified(content, expectationOf(expected, key), signal));
      return await this.#bucket.put(key, { headers, body, payload }, signal);
    } finally {
      this.#flight.give(expected.size);
    }
  }
}

/** A chunk that has been sent is used again, and another try may need it. */
function kept(body: Buffer): Buffer {
  return body.length === chunkBytes ? Buffer.from(body) : body;
}
