import { createHash } from 'node:crypto';
import { MirrorError } from '../core/errors.ts';
import type { ObjectBytes, ObjectState } from '../core/ports.ts';
import { readAll } from '../core/stream.ts';
import { digestSchema, parseJson, validate } from '../core/validate.ts';
import * as z from '../core/zod.ts';
import type { S3Bucket } from './s3-bucket.ts';

/** Outside every `models--` folder, which workers read whole. */
export const marksPrefix = '.sie-mirror/uploads/';

/** An upload in parts that we began: without its mark nobody could tell it from one of others. */
export interface UploadMark extends ObjectBytes {
  key: string;
  uploadId: string;
  partSize: number;
  /** The store was told that each part comes with its CRC-32, and checks it. */
  crc32?: boolean | undefined;
}

const markSchema: z.ZodType<UploadMark> = z.object({
  key: z.string(),
  uploadId: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  partSize: z.number().int().positive(),
  crc32: z.boolean().optional(),
});

const markLimit = 64 * 1024;

/** One small object for each upload of ours that has begun and not ended. */
export class UploadMarks {
  readonly #bucket: S3Bucket;
  /** Names of those that were there at first. */
  #names: Promise<readonly string[]> | undefined;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Marks that earlier runs left, of one key or of all. */
  async left(key?: string, signal?: AbortSignal): Promise<UploadMark[]> {
    this.#names ??= this.#list(signal);
    const found: UploadMark[] = [];
    for (const name of await this.#names) {
      if (key !== undefined && !name.startsWith(hashOf(key))) continue;
      const mark = await this.#read(name, signal);
      if (mark && (key === undefined || mark.key === key)) found.push(mark);
    }
    return found;
  }

  /** All that there are, where somebody has listed them before they were asked for. */
  seen(listed: readonly ObjectState[]): void {
    this.#names ??= Promise.resolve(namesOf(listed));
  }

  async set(mark: UploadMark, signal?: AbortSignal): Promise<void> {
    await this.#write(mark, JSON.stringify(mark), signal);
  }

  /** The upload has ended. Where nothing may be deleted, an empty mark stays. */
  async remove(mark: UploadMark): Promise<void> {
    const place = placeOf(mark);
    try {
      await this.#bucket.send(place, 's3:DeleteObject', ({ sdk, client }) =>
        client.send(new sdk.DeleteObjectCommand(this.#bucket.address(place))),
      );
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code !== 'E_AUTH') throw error;
      await this.#write(mark, '');
    }
  }

  async #write(mark: UploadMark, text: string, signal?: AbortSignal): Promise<void> {
    const place = placeOf(mark);
    const Body = Buffer.from(text);
    await this.#bucket.send(
      place,
      's3:PutObject',
      ({ sdk, client }, abort) =>
        client.send(
          new sdk.PutObjectCommand({ ...this.#bucket.address(place), Body, ContentLength: Body.length }),
          abort,
        ),
      signal,
    );
  }

  async #list(signal?: AbortSignal): Promise<string[]> {
    const listed: ObjectState[] = [];
    for await (const state of this.#bucket.list(marksPrefix, signal)) listed.push(state);
    return namesOf(listed);
  }

  /** Whatever is no mark marks nothing. */
  async #read(name: string, signal?: AbortSignal): Promise<UploadMark | undefined> {
    const place = `${marksPrefix}${name}`;
    try {
      return await this.#bucket.send(
        place,
        's3:GetObject',
        async ({ sdk, client }, abort) => {
          const { Body } = await client.send(new sdk.GetObjectCommand(this.#bucket.address(place)), abort);
          const bytes = await readAll(Body as AsyncIterable<Uint8Array>, markLimit, place);
          return validate(markSchema, parseJson(bytes, place), place);
        },
        signal,
      );
    } catch (error) {
      if (error instanceof MirrorError && ['E_NOT_FOUND', 'E_CORRUPT', 'E_SIZE_MISMATCH'].includes(error.code))
        return undefined;
      throw error;
    }
  }
}

/** An empty mark marks nothing. */
function namesOf(listed: readonly ObjectState[]): string[] {
  return listed.filter(({ size }) => size > 0).map(({ key }) => key.slice(marksPrefix.length));
}

function placeOf({ key, uploadId }: UploadMark): string {
  return `${marksPrefix}${hashOf(key)}-${hashOf(uploadId)}.json`;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
