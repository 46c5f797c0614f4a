import type { MirrorError } from '../core/errors.ts';
import type { ObjectState } from '../core/ports.ts';
import { type RetryOptions, retrying } from '../http/retry.ts';
import { isS3Error, type S3Action, translateS3, wantedRegion } from './s3-errors.ts';
import { putBody, type Upload } from './s3-put.ts';
import { type ConnectionOptions, type LoadedSdk, loadSdk } from './s3-sdk.ts';

export interface S3Options extends ConnectionOptions {
  bucket: string;
  /** Without slashes at its ends; empty for the whole bucket. */
  prefix: string;
  retry: RetryOptions;
}

export interface S3Address {
  Bucket: string;
  Key: string;
}

export type S3Request<T> = (loaded: LoadedSdk, abort: { abortSignal?: AbortSignal }) => Promise<T>;

/** Requests to one bucket, below a prefix: what may pass is tried again, errors come out in our words. */
export class S3Bucket {
  readonly name: string;
  readonly #options: S3Options;
  #region: string | undefined;
  #loaded: Promise<LoadedSdk> | undefined;

  constructor(options: S3Options) {
    this.#options = options;
    this.#region = options.region;
    this.name = `s3://${options.bucket}${options.prefix === '' ? '' : `/${options.prefix}`}`;
  }

  /** The region that the store asked for, where it is not the one of the settings. */
  get followedRegion(): string | undefined {
    return this.#region === this.#options.region ? undefined : this.#region;
  }

  get retry(): RetryOptions {
    return this.#options.retry;
  }

  /** The whole key of what is called `key` below the prefix. */
  key(key: string): string {
    return this.#options.prefix === '' ? key : `${this.#options.prefix}/${key}`;
  }

  address(key: string): S3Address {
    return { Bucket: this.#options.bucket, Key: this.key(key) };
  }

  /** One request, or some that are tried again together. @param action the right that is named when it is refused */
  async send<T>(key: string, action: S3Action, work: S3Request<T>, signal?: AbortSignal): Promise<T> {
    return retrying(() => this.once(key, action, work, signal), this.#options.retry, signal);
  }

  /** The same for who tries again in another way. */
  async once<T>(key: string, action: S3Action, work: S3Request<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await this.#followed(async () => work(await this.#load(), signal ? { abortSignal: signal } : {}));
    } catch (error) {
      throw this.translate(error, key, action);
    }
  }

  /** Bytes into an object, or into a part of one. */
  async put(
    key: string,
    upload: Pick<Upload, 'query' | 'headers' | 'body' | 'payload'>,
    signal?: AbortSignal,
  ): Promise<{ ETag: string | undefined }> {
    const address = this.address(key);
    const at = { side: 'target', item: `s3://${address.Bucket}/${address.Key}` } as const;
    const work: S3Request<string | undefined> = (loaded, { abortSignal }) =>
      putBody(loaded, { ...upload, address, at }, abortSignal);
    return { ETag: await this.send(key, 's3:PutObject', work, signal) };
  }

  /** @param prefix below that of the bucket; keys come out below it too */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectState> {
    const base = this.key('');
    let token: string | undefined;
    do {
      const more = token === undefined ? {} : { ContinuationToken: token };
      const page = await this.send(
        prefix,
        's3:ListBucket',
        ({ sdk, client }, abort) =>
          client.send(
            new sdk.ListObjectsV2Command({ Bucket: this.#options.bucket, Prefix: `${base}${prefix}`, ...more }),
            abort,
          ),
        signal,
      );
      for (const { Key, Size, ETag } of page.Contents ?? [])
        if (Key !== undefined) yield { key: Key.slice(base.length), size: Size ?? 0, version: versionOf(ETag) };
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  translate(error: unknown, key: string, action: S3Action): MirrorError {
    const { bucket } = this.#options;
    return translateS3(error, { bucket, item: `s3://${bucket}/${this.key(key)}`, action });
  }

  /** Once more with the region that the store asks for, or by its clock, which the SDK has then learned. */
  async #followed<T>(work: () => Promise<T>): Promise<T> {
    const region = this.#region;
    try {
      return await work();
    } catch (error) {
      const wanted = wantedRegion(error);
      if (wanted === undefined && !isS3Error(error, 'RequestTimeTooSkewed')) throw error;
      // Others may have learned it while this request was on its way.
      if (wanted !== undefined && region === this.#region) {
        this.#region = wanted;
        this.#loaded = undefined;
      }
      return work();
    }
  }

  #load(): Promise<LoadedSdk> {
    this.#loaded ??= loadSdk({ ...this.#options, region: this.#region });
    return this.#loaded;
  }
}

/** An ETag without its quotes: some stores leave them out in one answer and write them in another. */
export function versionOf(etag: string | undefined): string | undefined {
  return etag?.replaceAll('"', '');
}
