import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type Digest, digestHex } from '../core/digest.ts';
import { isWrongBytes, MirrorError } from '../core/errors.ts';
import type { Content, ObjectBytes } from '../core/ports.ts';
import { Check, expectationOf } from '../core/stream.ts';
import { inParts, type PartBuffers } from './part-buffers.ts';
import type { S3Bucket, S3Request } from './s3-bucket.ts';
import { isRefusal, isS3Error, wantedRegion } from './s3-errors.ts';
import { unsigned } from './s3-signature.ts';
import { type UploadMark, UploadMarks } from './s3-marks.ts';

const mebi = 1024 * 1024;
const smallestPart = 8 * mebi;
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const maxParts = 10_000;

/** A part that an upload has. */
interface StandingPart {
  /** With its quotes, as the store wants it back. */
  ETag: string;
  size: number;
}

interface SentPart {
  PartNumber: number;
  ETag: string | undefined;
  ChecksumCRC32?: string;
}

interface BegunUpload {
  UploadId?: string | undefined;
  ChecksumAlgorithm?: string | undefined;
}

/**
 * Puts large objects in parts. An upload that was broken off is taken up by the next run: its parts are kept when they
 * have the size and the MD5 of what would be sent. The upload is completed, and the object visible, only after the digest
 * of all that was read has held. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export class S3Parts {
  readonly #bucket: S3Bucket;
  readonly #buffers: PartBuffers;
  readonly marks: UploadMarks;
  /** Until the store has refused it, or not understood. */
  #asksForCrc = true;

  constructor(bucket: S3Bucket, buffers: PartBuffers) {
    this.#bucket = bucket;
    this.#buffers = buffers;
    this.marks = new UploadMarks(bucket);
  }

  /** @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH: then nothing is left of it; after any other error the next run goes on */
  async put(
    key: string,
    content: Content,
    wanted: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<{ ETag?: string | undefined }> {
    const standing = await this.#takeUp(key, wanted, signal);
    if (!standing) return this.#send(await this.#begin(key, wanted, signal), new Map(), content, signal);
    try {
      return await this.#send(standing.mark, standing.parts, content, signal);
    } catch (error) {
      if (!isS3Error(error, 'NoSuchUpload')) throw error;
      // A rule of the bucket or another process has ended it since its parts were listed.
      return this.#send(await this.#begin(key, wanted, signal), new Map(), content, signal);
    }
  }

  /** Ends an upload of ours that nobody is going to complete; what is gone already is fine. */
  async end(mark: UploadMark): Promise<void> {
    await this.#abort(mark);
    await this.marks.remove(mark);
  }

  async #abort(mark: UploadMark): Promise<void> {
    try {
      await this.#bucket.send(mark.key, 's3:AbortMultipartUpload', ({ sdk, client }) =>
        client.send(new sdk.AbortMultipartUploadCommand(this.#upload(mark))),
      );
    } catch (error) {
      if (!isS3Error(error, 'NoSuchUpload')) throw error;
    }
  }

  /** The upload of an earlier run that is furthest; the others of that key lead nowhere, and end. */
  async #takeUp(
    key: string,
    { digest, size }: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<{ mark: UploadMark; parts: Map<number, StandingPart> } | undefined> {
    const found: { mark: UploadMark; parts: Map<number, StandingPart> }[] = [];
    for (const mark of await this.marks.left(key, signal)) {
      const isSame = mark.digest === digest && mark.size === size;
      const parts = isSame ? await this.#standing(mark, signal) : new Map<number, StandingPart>();
      found.push({ mark, parts });
    }
    const [best, ...others] = found.sort((a, b) => b.parts.size - a.parts.size);
    const useless = best && best.parts.size > 0 ? others : found;
    // Best effort: a store that refuses this has rules of its own for uploads that nobody ends.
    for (const { mark } of useless) await this.end(mark).catch(() => {});
    return best && best.parts.size > 0 ? best : undefined;
  }

  /** None when the upload is gone, or the store does not tell. */
  async #standing(mark: UploadMark, signal?: AbortSignal): Promise<Map<number, StandingPart>> {
    const parts = new Map<number, StandingPart>();
    try {
      for (let marker: string | undefined, more = true; more;) {
        const from = marker === undefined ? {} : { PartNumberMarker: marker };
        const page = await this.#bucket.send(
          mark.key,
          's3:ListMultipartUploadParts',
          ({ sdk, client }, abort) => client.send(new sdk.ListPartsCommand({ ...this.#upload(mark), ...from }), abort),
          signal,
        );
        for (const { PartNumber = 0, ETag, Size: size = 0 } of page.Parts ?? [])
          if (ETag !== undefined) parts.set(PartNumber, { ETag, size });
        more = page.IsTruncated === true && page.NextPartNumberMarker !== undefined;
        marker = page.NextPartNumberMarker;
      }
    } catch (error) {
      if (!(error instanceof MirrorError) || error.retryable || error.code === 'E_ABORTED') throw error;
      return new Map();
    }
    return parts;
  }

  async #begin(key: string, { digest, size }: ObjectBytes, signal?: AbortSignal): Promise<UploadMark> {
    const { UploadId: uploadId = '', ChecksumAlgorithm } = await this.#create(key, digest, signal);
    const crc32 = ChecksumAlgorithm === 'CRC32';
    const partSize = Math.max(smallestPart, Math.ceil(size / maxParts / mebi) * mebi);
    const mark = { key, uploadId, digest, size, partSize, crc32 };
    if (this.#asksForCrc && !crc32) {
      // It may have passed over the question, or have heard it and want a checksum with each part.
      this.#asksForCrc = false;
      await this.#abort(mark).catch(() => {});
      return this.#begin(key, { digest, size }, signal);
    }
    await this.marks.set(mark, signal);
    return mark;
  }

  /** Asks the store to check each part by its CRC-32, and does without where it refuses that. */
  async #create(key: string, digest: Digest, signal?: AbortSignal): Promise<BegunUpload> {
    const wanted = { ...this.#bucket.address(key), Metadata: { sha256: digestHex(digest) } };
    const create: S3Request<BegunUpload> = async (loaded, abort) => {
      const { sdk, client } = loaded;
      const checked = this.#asksForCrc ? { ChecksumAlgorithm: 'CRC32' as const } : {};
      try {
        return await client.send(new sdk.CreateMultipartUploadCommand({ ...wanted, ...checked }), abort);
      } catch (error) {
        if (!this.#asksForCrc || !isRefusal(error) || wantedRegion(error) !== undefined) throw error;
        this.#asksForCrc = false;
        return create(loaded, abort);
      }
    };
    return this.#bucket.send(key, 's3:PutObject', create, signal);
  }

  async #send(
    mark: UploadMark,
    standing: ReadonlyMap<number, StandingPart>,
    content: Content,
    signal?: AbortSignal,
  ): Promise<{ ETag?: string | undefined }> {
    const done: SentPart[] = [];
    try {
      await this.#sendParts(mark, standing, content, done, signal);
    } catch (error) {
      // The first error is the one to tell of.
      if (done.length === 0 || isWrongBytes(error) || isS3Error(error, 'NoSuchUpload'))
        await this.end(mark).catch(() => {});
      throw error;
    }
    const completed = await this.#complete(mark, done, signal);
    await this.marks.remove(mark).catch(() => {});
    return completed;
  }

  async #complete(mark: UploadMark, done: SentPart[], signal?: AbortSignal): Promise<{ ETag?: string | undefined }> {
    const Parts = done.sort((a, b) => a.PartNumber - b.PartNumber);
    try {
      return await this.#bucket.send(
        mark.key,
        's3:PutObject',
        ({ sdk, client }, abort) =>
          client.send(
            new sdk.CompleteMultipartUploadCommand({ ...this.#upload(mark), MultipartUpload: { Parts } }),
            abort,
          ),
        signal,
      );
    } catch (error) {
      if (!isS3Error(error, 'NoSuchUpload')) throw error;
      // The answer to an earlier try was lost, or another process had the same work: what is there decides.
      const there = await this.#bucket.send(
        mark.key,
        's3:GetObject',
        ({ sdk, client }, abort) => client.send(new sdk.HeadObjectCommand(this.#bucket.address(mark.key)), abort),
        signal,
      );
      if (there.ContentLength !== mark.size || there.Metadata?.['sha256'] !== digestHex(mark.digest)) throw error;
      return there;
    }
  }

  /** @param done is told of each part that the store has */
  async #sendParts(
    mark: UploadMark,
    standing: ReadonlyMap<number, StandingPart>,
    content: Content,
    done: SentPart[],
    signal?: AbortSignal,
  ): Promise<void> {
    const { key, partSize } = mark;
    const check = new Check(expectationOf(mark, key));
    const flying = new Set<Promise<void>>();
    let failed: { error: unknown } | undefined;
    let number = 0;
    try {
      for await (const { buffer, length } of inParts(
        content.open(0, signal),
        partSize,
        (chunk) => check.update(chunk),
        this.#buffers,
      )) {
        const body = buffer.subarray(0, length);
        number += 1;
        const PartNumber = number;
        const checked = mark.crc32 ? { ChecksumCRC32: crc32Of(body) } : {};
        const stands = standing.get(PartNumber);
        if (stands && isSamePart(stands, body)) {
          done.push({ PartNumber, ETag: stands.ETag, ...checked });
          this.#buffers.give(buffer, true);
          continue;
        }
        let sent = false;
        const part = this.#sendPart(mark, { PartNumber, ...checked }, body, signal)
          .then((each) => {
            sent = true;
            done.push(each);
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
      // A part that is still on its way would outlive the end of its upload.
      await Promise.all(flying);
    }
    if (failed) throw failed.error;
    check.finish();
  }

  async #sendPart(
    { key, uploadId }: UploadMark,
    part: Omit<SentPart, 'ETag'>,
    body: Buffer,
    signal?: AbortSignal,
  ): Promise<SentPart> {
    const query = { partNumber: String(part.PartNumber), uploadId };
    const { ChecksumCRC32: sum } = part;
    const guard = sum === undefined ? {} : { headers: { 'x-amz-checksum-crc32': sum }, payload: unsigned };
    return { ...part, ...(await this.#bucket.put(key, { query, body, ...guard }, signal)) };
  }

  #upload({ key, uploadId }: UploadMark): { Bucket: string; Key: string; UploadId: string } {
    return { ...this.#bucket.address(key), UploadId: uploadId };
  }
}

/** As headers have it: four bytes, the highest first, in base64. */
function crc32Of(body: Buffer): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return sum.toString('base64');
}

/** Where a store names its parts otherwise than by their MD5, they are sent again. */
function isSamePart({ ETag, size }: StandingPart, body: Buffer): boolean {
  const wanted = ETag.replaceAll('"', '').toLowerCase();
  return size === body.length && wanted.length === 32 && md5(body) === wanted;
}

/** Undefined where MD5 must not be used, as on a machine in FIPS mode. */
function md5(bytes: Buffer): string | undefined {
  try {
    return createHash('md5').update(bytes).digest('hex');
  } catch {
    return undefined;
  }
}
