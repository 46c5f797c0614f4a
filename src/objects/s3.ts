import { checksumOf, type Digest, digestHex } from '../core/digest.ts';
import { type ErrorCode, type ErrorPlace, isAbort, MirrorError } from '../core/errors.ts';
import { Budget } from '../core/limit.ts';
import type { Content, ObjectState, ObjectStore } from '../core/ports.ts';
import { Check, readVerified } from '../core/stream.ts';
import { resuming, type RetryOptions, retrying } from '../http/retry.ts';
import { PartBuffers } from './part-buffers.ts';
import { copyObject } from './s3-copy.ts';
import { type ConnectionOptions, type LoadedSdk, loadSdk } from './s3-sdk.ts';

export interface S3Options extends ConnectionOptions {
  bucket: string;
  /** Without slashes at its ends; empty for the whole bucket. */
  prefix: string;
  retry: RetryOptions;
}

const mebi = 1024 * 1024;
/** Up to this an object goes in one request, whole in memory. */
const singleLimit = 16 * mebi;
const maxParts = 10_000;
/** Bytes of bodies in memory at once, for all objects together. */
const flightBytes = 24 * mebi;

/**
 * S3 and what speaks its protocol. Endpoint, region and credentials come from the AWS chain (environment, profile, web
 * identity). Each request's payload is signed with its sha256, so the store itself refuses bytes that changed on the
 * way; the sha256 of the whole stands in the object's metadata.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly #options: S3Options;
  readonly #flight = new Budget(flightBytes);
  readonly #buffers = new PartBuffers(this.#flight);
  #loaded: Promise<LoadedSdk> | undefined;

  constructor(options: S3Options) {
    this.#options = options;
    this.name = `s3://${options.bucket}${options.prefix === '' ? '' : `/${options.prefix}`}`;
  }

  async head(key: string): Promise<ObjectState | undefined> {
    const { sdk, client } = await this.#load();
    return this.#try(key, 's3:GetObject', async () => {
      try {
        const found = await client.send(new sdk.HeadObjectCommand(this.#address(key)));
        const hex = found.Metadata?.['sha256'];
        return {
          key,
          size: found.ContentLength ?? 0,
          digest: hex === undefined ? undefined : `sha256:${hex}`,
          version: found.ETag,
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
    expected: { digest: Digest; size: number },
    signal?: AbortSignal,
  ): Promise<{ version?: string | undefined }> {
    const isSmall = expected.size <= singleLimit;
    const put = isSmall
      ? await this.#putWhole(key, content, expected, signal)
      : await this.#putParts(key, content, expected, signal);
    return { version: put.ETag };
  }

  async get(key: string): Promise<Content | undefined> {
    const state = await this.head(key);
    return state && this.content(key, state.size);
  }

  content(key: string, size: number): Content {
    const read = async (offset: number, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> => {
      const { sdk, client } = await this.#load();
      const range = offset > 0 ? { Range: `bytes=${offset}-` } : {};
      const found = await client.send(new sdk.GetObjectCommand({ ...this.#address(key), ...range }), abortable(signal));
      return found.Body as AsyncIterable<Uint8Array>;
    };
    const translate = (error: unknown): MirrorError => this.#translate(error, key, 's3:GetObject');
    const plain: Content = {
      size,
      async *open(offset, signal) {
        // A range that begins at the end is refused by every store.
        if (offset >= size && offset > 0) return;
        try {
          yield* await read(offset, signal);
        } catch (error) {
          throw translate(error);
        }
      },
    };
    return resuming(plain, this.#options.retry);
  }

  async copy(from: string, to: string, size: number, signal?: AbortSignal): Promise<void> {
    const loaded = await this.#load();
    const copied = (): Promise<void> =>
      copyObject(loaded, this.#address(from), this.#address(to), size, abortable(signal));
    await this.#try(from, 's3:PutObject', copied, signal);
  }

  async *list(prefix: string): AsyncGenerator<ObjectState> {
    const { sdk, client } = await this.#load();
    const base = this.#key('');
    let token: string | undefined;
    do {
      const page = await this.#try(prefix, 's3:ListBucket', () =>
        client.send(
          new sdk.ListObjectsV2Command({
            Bucket: this.#options.bucket,
            Prefix: `${base}${prefix}`,
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      for (const { Key, Size, ETag } of page.Contents ?? [])
        if (Key !== undefined) yield { key: Key.slice(base.length), size: Size ?? 0, version: ETag };
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  async #putWhole(
    key: string,
    content: Content,
    expected: { digest: Digest; size: number },
    signal?: AbortSignal,
  ): Promise<{ ETag?: string | undefined }> {
    await this.#flight.take(expected.size);
    try {
      return await this.#sendWhole(key, content, expected, signal);
    } finally {
      this.#flight.give(expected.size);
    }
  }

  async #sendWhole(
    key: string,
    content: Content,
    expected: { digest: Digest; size: number },
    signal?: AbortSignal,
  ): Promise<{ ETag?: string | undefined }> {
    const expectation = { size: expected.size, checksum: checksumOf(expected.digest), item: key };
    const body = await readVerified(content, expectation, signal);
    const { sdk, client } = await this.#load();
    return this.#try(
      key,
      's3:PutObject',
      () =>
        client.send(
          new sdk.PutObjectCommand({
            ...this.#address(key),
            Body: body,
            ContentLength: body.length,
            Metadata: { sha256: digestHex(expected.digest) },
          }),
          abortable(signal),
        ),
      signal,
    );
  }

  /** The upload is completed, and the object visible, only after the digest of all that was read has held. */
  async #putParts(
    key: string,
    content: Content,
    expected: { digest: Digest; size: number },
    signal?: AbortSignal,
  ): Promise<{ ETag?: string | undefined }> {
    const { sdk, client } = await this.#load();
    const created = await this.#try(key, 's3:PutObject', () =>
      client.send(
        new sdk.CreateMultipartUploadCommand({
          ...this.#address(key),
          Metadata: { sha256: digestHex(expected.digest) },
        }),
      ),
    );
    const upload = { ...this.#address(key), UploadId: created.UploadId };
    try {
      const parts = await this.#sendParts(key, content, expected, upload, signal);
      return await this.#try(
        key,
        's3:PutObject',
        () =>
          client.send(
            new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }),
            abortable(signal),
          ),
        signal,
      );
    } catch (error) {
      // Best effort: the first error is the one to tell of, and the store's own lifecycle rule takes what stays.
      await client.send(new sdk.AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  async #sendParts(
    key: string,
    content: Content,
    expected: { digest: Digest; size: number },
    upload: { Bucket: string; Key: string; UploadId: string | undefined },
    signal?: AbortSignal,
  ): Promise<{ PartNumber: number; ETag: string | undefined }[]> {
    const { sdk, client } = await this.#load();
    const partSize = Math.max(singleLimit / 2, Math.ceil(expected.size / maxParts / mebi) * mebi);
    const check = new Check({ size: expected.size, checksum: checksumOf(expected.digest), item: key });
    const done: { PartNumber: number; ETag: string | undefined }[] = [];
    const flying = new Set<Promise<void>>();
    let failed: { error: unknown } | undefined;
    let number = 0;
    try {
      const parts = inParts(content.open(0, signal), partSize, (chunk) => check.update(chunk), this.#buffers);
      for await (const { buffer, length } of parts) {
        const body = buffer.subarray(0, length);
        let sent = false;
        number += 1;
        const PartNumber = number;
        const part = this.#try(
          key,
          's3:PutObject',
          () =>
            client.send(
              new sdk.UploadPartCommand({ ...upload, PartNumber, Body: body, ContentLength: body.length }),
              abortable(signal),
            ),
          signal,
        )
          .then(({ ETag }) => {
            sent = true;
            done.push({ PartNumber, ETag });
          })
          .catch((error: unknown) => {
            failed ??= { error };
          })
          .finally(() => {
            flying.delete(part);
            this.#buffers.give(buffer, sent);
          });
        flying.add(part);
        if (failed) break;
      }
    } finally {
      // A part that is still on its way would outlive the abort of its upload.
      await Promise.all(flying);
    }
    if (failed) throw failed.error;
    check.finish();
    return done.sort((a, b) => a.PartNumber - b.PartNumber);
  }

  #key(key: string): string {
    return this.#options.prefix === '' ? key : `${this.#options.prefix}/${key}`;
  }

  #address(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#options.bucket, Key: this.#key(key) };
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
    const at: ErrorPlace = { side: 'target', item: `s3://${this.#options.bucket}/${this.#key(key)}` };
    if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { at, cause: error });
    const { name = '', message = '', code = '' } = error as { name?: string; message?: string; code?: string };
    const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
    const place = status === undefined ? at : { ...at, status };
    const known = s3Errors[name] ?? s3Errors[code] ?? (status === 403 ? s3Errors['AccessDenied'] : undefined);
    if (known)
      return new MirrorError(known.code, known.text(this.#options.bucket, action), {
        ...(known.hint === undefined ? {} : { hint: known.hint }),
        at: place,
        cause: error,
      });
    // What never reached the network is the settings' fault: no region, a profile that cannot be read.
    if (status === undefined && code === '' && name === 'Error')
      return new MirrorError('E_USAGE', `\`${this.name}\`: ${message}`, {
        hint: 'check AWS_REGION, AWS_PROFILE and the files in ~/.aws',
        at,
        cause: error,
      });
    const passing = status === undefined || status >= 500 || status === 429;
    return new MirrorError(
      passing ? 'E_NETWORK' : 'E_REMOTE',
      `\`${this.name}\`: ${name}${message === '' ? '' : `: ${message}`}`,
      { at: place, cause: error },
    );
  }

  #load(): Promise<LoadedSdk> {
    this.#loaded ??= loadSdk(this.#options);
    return this.#loaded;
  }
}

function abortable(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal ? { abortSignal: signal } : {};
}

/** A part of an object: the first `length` bytes of a buffer, which is the consumer's to give back. */
interface FilledPart {
  buffer: Buffer;
  length: number;
}

/** Cuts a stream into parts of `size`, the last one shorter. */
async function* inParts(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  see: (chunk: Uint8Array) => void,
  buffers: PartBuffers,
): AsyncGenerator<FilledPart> {
  let part: FilledPart | undefined;
  try {
    for await (const chunk of bytes) {
      see(chunk);
      for (let rest = chunk; rest.length > 0;) {
        part ??= { buffer: await buffers.take(size), length: 0 };
        const taken = Math.min(rest.length, size - part.length);
        part.buffer.set(rest.subarray(0, taken), part.length);
        part.length += taken;
        rest = rest.subarray(taken);
        if (part.length < size) continue;
        const full = part;
        part = undefined;
        yield full;
      }
    }
    const last = part;
    part = undefined;
    if (last) yield last;
  } finally {
    if (part) buffers.give(part.buffer, true);
  }
}

interface KnownError {
  code: ErrorCode;
  text: (bucket: string, action: string) => string;
  hint?: string;
}

const keys = 'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE';

const s3Errors: Record<string, KnownError> = {
  NoSuchBucket: {
    code: 'E_NOT_FOUND',
    text: (bucket) => `there is no bucket \`${bucket}\``,
    hint: 'create the bucket, or check AWS_ENDPOINT_URL_S3 and the spelling',
  },
  NoSuchKey: { code: 'E_NOT_FOUND', text: (bucket) => `an object that was there is gone from \`${bucket}\`` },
  NotFound: {
    code: 'E_NOT_FOUND',
    text: (bucket) => `there is no bucket \`${bucket}\``,
    hint: 'create the bucket, or check AWS_ENDPOINT_URL_S3 and the spelling',
  },
  AccessDenied: {
    code: 'E_AUTH',
    text: (bucket, action) => `not allowed in the bucket \`${bucket}\`: \`${action}\` was refused`,
    hint: 'have that action allowed for these credentials',
  },
  InvalidAccessKeyId: {
    code: 'E_AUTH',
    text: (bucket) => `the store of \`${bucket}\` does not know this access key`,
    hint: keys,
  },
  SignatureDoesNotMatch: {
    code: 'E_AUTH',
    text: (bucket) => `the store of \`${bucket}\` refused the signature: the secret key is wrong`,
    hint: keys,
  },
  ExpiredToken: {
    code: 'E_AUTH',
    text: () => 'the credentials have expired',
    hint: 'get fresh ones and run the same command again: what has arrived is kept',
  },
  RequestTimeTooSkewed: {
    code: 'E_AUTH',
    text: () => 'the clock of this machine differs too much from the store',
    hint: 'set the clock and run the same command again',
  },
  CredentialsProviderError: {
    code: 'E_AUTH',
    text: (bucket) => `there are no credentials for \`s3://${bucket}\``,
    hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
  },
  QuotaExceeded: { code: 'E_NO_SPACE', text: (bucket) => `the quota of \`${bucket}\` is used up` },
  XMinioStorageFull: { code: 'E_NO_SPACE', text: (bucket) => `the store of \`${bucket}\` is full` },
  SlowDown: { code: 'E_RATE_LIMIT', text: (bucket) => `the store of \`${bucket}\` asks to slow down` },
  XAmzContentSHA256Mismatch: { code: 'E_NETWORK', text: (bucket) => `bytes changed on the way to \`${bucket}\`` },
  BadDigest: { code: 'E_NETWORK', text: (bucket) => `bytes changed on the way to \`${bucket}\`` },
  ECONNREFUSED: {
    code: 'E_NETWORK',
    text: (bucket) => `the store of \`${bucket}\`: connection refused`,
    hint: 'check AWS_ENDPOINT_URL_S3',
  },
  ENOTFOUND: {
    code: 'E_NETWORK',
    text: (bucket) => `the store of \`${bucket}\`: unknown host`,
    hint: 'check AWS_ENDPOINT_URL_S3',
  },
};
