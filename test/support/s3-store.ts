import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { S3Error } from './s3-error.ts';

/** One object as the store keeps it. */
export interface StoredObject {
  body: Uint8Array;
  /** User metadata without its `x-amz-meta-` prefix. */
  metadata: Record<string, string>;
  /** Without quotes. */
  etag: string;
  contentType?: string;
  lastModified?: Date;
}

/** An upload in parts that was neither completed nor aborted. */
export interface Upload {
  id: string;
  bucket: string;
  key: string;
  metadata: Record<string, string>;
  contentType: string | undefined;
  initiated: Date;
  parts: Map<number, { body: Uint8Array; etag: string }>;
  /** Each part comes with its CRC-32. */
  checked?: boolean;
}

/** A part as the client names it in the end. */
export interface NamedPart {
  number: number;
  etag: string;
  crc32: string | undefined;
}

/** Only the last part may be smaller. */
const minPartSize = 5 * 1_048_576;

/** Buckets in memory. */
export class S3Store {
  /** By `bucket/key`. */
  readonly objects = new Map<string, StoredObject>();
  readonly uploads = new Map<string, Upload>();
  readonly #buckets: Set<string>;
  #nextUpload = 1;

  constructor(buckets: readonly string[]) {
    this.#buckets = new Set(buckets);
  }

  hasBucket(bucket: string): boolean {
    return this.#buckets.has(bucket);
  }

  /** Keys of one bucket in the order of their UTF-8 bytes. */
  keys(bucket: string, prefix: string): string[] {
    const start = `${bucket}/`;
    const names = [...this.objects.keys()].filter((name) => name.startsWith(start + prefix));
    return names.map((name) => name.slice(start.length)).sort(byBytes);
  }

  put(bucket: string, key: string, body: Uint8Array, metadata: Record<string, string>, contentType?: string): string {
    const etag = md5(body);
    const stored: StoredObject = { body, metadata, etag, lastModified: new Date() };
    if (contentType) stored.contentType = contentType;
    this.objects.set(`${bucket}/${key}`, stored);
    return etag;
  }

  createUpload(bucket: string, key: string, metadata: Record<string, string>, contentType?: string): Upload {
    const id = `upload-${this.#nextUpload}`;
    this.#nextUpload += 1;
    const upload: Upload = { id, bucket, key, metadata, contentType, initiated: new Date(), parts: new Map() };
    this.uploads.set(id, upload);
    return upload;
  }

  /** An open upload; its id is good for its own key only. */
  upload(bucket: string, key: string, id: string): Upload {
    const upload = this.uploads.get(id);
    if (!upload || upload.bucket !== bucket || upload.key !== key) throw new S3Error('NoSuchUpload');
    return upload;
  }

  putPart(upload: Upload, number: number, body: Uint8Array): string {
    if (!Number.isInteger(number) || number < 1 || number > 10_000)
      throw new S3Error('InvalidArgument', ': partNumber');
    const etag = md5(body);
    upload.parts.set(number, { body, etag });
    return etag;
  }

  /** Makes the object out of the parts that the client names. */
  complete(upload: Upload, list: readonly NamedPart[]): string {
    const chosen = this.#choose(upload, list);
    const digests = chosen.map((part) => Buffer.from(part.etag, 'hex'));
    const etag = `${md5(Buffer.concat(digests))}-${chosen.length}`;
    const body = Buffer.concat(chosen.map((part) => part.body));
    this.put(upload.bucket, upload.key, body, upload.metadata, upload.contentType);
    const stored = this.objects.get(`${upload.bucket}/${upload.key}`);
    if (stored) stored.etag = etag;
    this.uploads.delete(upload.id);
    return etag;
  }

  #choose(upload: Upload, list: readonly NamedPart[]): { body: Uint8Array; etag: string }[] {
    if (list.some((part, index) => part.number <= (list[index - 1]?.number ?? 0)))
      throw new S3Error('InvalidPartOrder');
    const chosen = list.map(({ number, etag, crc32: sum }) => {
      const part = upload.parts.get(number);
      const isNamed = part?.etag === etag && sum === (upload.checked ? crc32Of(part.body) : undefined);
      if (!part || !isNamed) throw new S3Error('InvalidPart', ` (part ${number})`);
      return part;
    });
    if (chosen.slice(0, -1).some((part) => part.body.length < minPartSize)) throw new S3Error('EntityTooSmall');
    return chosen;
  }
}

/** Four bytes, the highest first, in base64. */
export function crc32Of(body: Uint8Array): string {
  return Buffer.from(crc32(body).toString(16).padStart(8, '0'), 'hex').toString('base64');
}

/** Orders names as S3 lists them. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function md5(body: Uint8Array): string {
  return createHash('md5').update(body).digest('hex');
}
