import { S3Error } from './s3-error.ts';
import { byBytes, type S3Store, type StoredObject, type Upload } from './s3-store.ts';
import { element, encodeName, resultXml } from './s3-xml.ts';

/** A line of a listing: an object, or a folder that the delimiter made. */
type Row = { kind: 'key'; name: string } | { kind: 'prefix'; name: string };

/** ListObjectsV2. */
export function listObjects(store: S3Store, bucket: string, query: URLSearchParams, pageSize: number): string {
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const encoding = readEncoding(query);
  const maxKeys = readCount(query, 'max-keys');
  const token = query.get('continuation-token');
  const after = token === null ? query.get('start-after') : readToken(token);
  const rows = allRows(store.keys(bucket, prefix), prefix, delimiter).filter((row) => isAfter(row, after, delimiter));
  const page = rows.slice(0, Math.min(maxKeys, pageSize));
  const isTruncated = maxKeys > 0 && page.length < rows.length;
  const last = page.at(-1);
  const keys = page.filter((row) => row.kind === 'key');
  const prefixes = page.filter((row) => row.kind === 'prefix');
  return resultXml('ListBucketResult', [
    element('Name', bucket),
    element('Prefix', encodeName(prefix, encoding)),
    ...(delimiter === '' ? [] : [element('Delimiter', encodeName(delimiter, encoding))]),
    ...optional('StartAfter', query.get('start-after'), encoding),
    ...(token === null ? [] : [element('ContinuationToken', token)]),
    ...(isTruncated && last ? [element('NextContinuationToken', writeToken(last.name))] : []),
    element('KeyCount', page.length),
    element('MaxKeys', Math.min(maxKeys, 1000)),
    ...(encoding ? [element('EncodingType', encoding)] : []),
    element('IsTruncated', isTruncated),
    ...keys.map((row) => contents(row.name, store.objects.get(`${bucket}/${row.name}`), encoding)),
    ...prefixes.map((row) => `<CommonPrefixes>${element('Prefix', encodeName(row.name, encoding))}</CommonPrefixes>`),
  ]);
}

/** ListMultipartUploads. */
export function listUploads(store: S3Store, bucket: string, query: URLSearchParams): string {
  const prefix = query.get('prefix') ?? '';
  const encoding = readEncoding(query);
  const max = readCount(query, 'max-uploads');
  const marker = query.get('key-marker') ?? '';
  const idMarker = query.get('upload-id-marker') ?? '';
  const isNext = (upload: Upload): boolean => {
    const order = byBytes(upload.key, marker);
    return order > 0 || (order === 0 && idMarker !== '' && uploadNumber(upload.id) > uploadNumber(idMarker));
  };
  const found = [...store.uploads.values()]
    .filter((upload) => upload.bucket === bucket && upload.key.startsWith(prefix) && (marker === '' || isNext(upload)))
    .sort((a, b) => byBytes(a.key, b.key) || uploadNumber(a.id) - uploadNumber(b.id));
  const page = found.slice(0, max);
  const last = page.at(-1);
  const isTruncated = page.length < found.length;
  return resultXml('ListMultipartUploadsResult', [
    element('Bucket', bucket),
    element('KeyMarker', encodeName(marker, encoding)),
    element('UploadIdMarker', idMarker),
    ...(isTruncated && last ? [element('NextKeyMarker', encodeName(last.key, encoding))] : []),
    ...(isTruncated && last ? [element('NextUploadIdMarker', last.id)] : []),
    element('Prefix', encodeName(prefix, encoding)),
    ...(encoding ? [element('EncodingType', encoding)] : []),
    element('MaxUploads', max),
    element('IsTruncated', isTruncated),
    ...page.map((upload) => {
      const initiated = element('Initiated', upload.initiated.toISOString());
      return `<Upload>${element('Key', encodeName(upload.key, encoding))}${element('UploadId', upload.id)}${initiated}</Upload>`;
    }),
  ]);
}

/** ListParts. */
export function listParts(upload: Upload, query: URLSearchParams): string {
  const max = readCount(query, 'max-parts');
  const marker = Number(query.get('part-number-marker') ?? 0);
  const parts = [...upload.parts].filter(([number]) => number > marker).sort(([a], [b]) => a - b);
  const page = parts.slice(0, max);
  const modified = element('LastModified', upload.initiated.toISOString());
  return resultXml('ListPartsResult', [
    element('Bucket', upload.bucket),
    element('Key', upload.key),
    element('UploadId', upload.id),
    element('PartNumberMarker', marker),
    element('NextPartNumberMarker', page.at(-1)?.[0] ?? 0),
    element('MaxParts', max),
    element('IsTruncated', page.length < parts.length),
    ...page.map(([number, { body, etag }]) => {
      const fields = [
        element('PartNumber', number),
        modified,
        element('ETag', `"${etag}"`),
        element('Size', body.length),
      ];
      return `<Part>${fields.join('')}</Part>`;
    }),
  ]);
}

function allRows(keys: string[], prefix: string, delimiter: string): Row[] {
  if (delimiter === '') return keys.map((name) => ({ kind: 'key', name }));
  const rows = new Map<string, Row>();
  for (const key of keys) {
    const at = key.indexOf(delimiter, prefix.length);
    const name = at < 0 ? key : key.slice(0, at + delimiter.length);
    // A key that ends in the delimiter is rolled up as well, unless it is the prefix itself.
    rows.set(name, { kind: at < 0 ? 'key' : 'prefix', name });
  }
  return [...rows.values()];
}

function isAfter(row: Row, after: string | null, delimiter: string): boolean {
  if (after === null) return true;
  if (row.kind === 'prefix' && delimiter !== '' && after.startsWith(row.name)) return false;
  return byBytes(row.name, after) > 0;
}

function contents(key: string, stored: StoredObject | undefined, encoding: string | null): string {
  const fields = [
    element('Key', encodeName(key, encoding)),
    element('LastModified', (stored?.lastModified ?? new Date(0)).toISOString()),
    element('ETag', `"${stored?.etag ?? ''}"`),
    element('Size', stored?.body.length ?? 0),
    element('StorageClass', 'STANDARD'),
  ];
  return `<Contents>${fields.join('')}</Contents>`;
}

function optional(name: string, value: string | null, encoding: string | null): string[] {
  return value === null ? [] : [element(name, encodeName(value, encoding))];
}

function readEncoding(query: URLSearchParams): string | null {
  const encoding = query.get('encoding-type');
  if (encoding !== null && encoding !== 'url') throw new S3Error('InvalidArgument', ': encoding-type');
  return encoding;
}

function readCount(query: URLSearchParams, name: string): number {
  const value = query.get(name) ?? '1000';
  if (!/^\d+$/.test(value)) throw new S3Error('InvalidArgument', `: ${name}`);
  return Math.min(Number(value), 1000);
}

function writeToken(name: string): string {
  return `1!${Buffer.from(name).toString('base64')}`;
}

function readToken(token: string): string {
  if (!token.startsWith('1!')) throw new S3Error('InvalidArgument', ': continuation-token');
  return Buffer.from(token.slice(2), 'base64').toString();
}

function uploadNumber(id: string): number {
  return Number(id.replace('upload-', ''));
}
