import type { IncomingMessage } from 'node:http';

/** Operations of the test store. */
export type S3Action =
  | 'HeadBucket'
  | 'ListObjectsV2'
  | 'ListMultipartUploads'
  | 'HeadObject'
  | 'GetObject'
  | 'PutObject'
  | 'DeleteObject'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListParts';

/** What a request asks for; `key` is empty for an operation on a bucket. */
export interface S3Route {
  action: S3Action;
  bucket: string;
  key: string;
  query: URLSearchParams;
}

/** One operation: the parameters that pick it, and the others that it takes. */
interface Rule {
  action: S3Action;
  method: string;
  on: 'bucket' | 'object';
  needs: readonly string[];
  takes: readonly string[];
}

const LIST = ['prefix', 'delimiter', 'continuation-token', 'max-keys', 'encoding-type', 'start-after', 'fetch-owner'];
const UPLOADS = ['prefix', 'key-marker', 'upload-id-marker', 'max-uploads', 'encoding-type'];

const RULES: readonly Rule[] = [
  { action: 'HeadBucket', method: 'HEAD', on: 'bucket', needs: [], takes: [] },
  { action: 'ListObjectsV2', method: 'GET', on: 'bucket', needs: ['list-type'], takes: LIST },
  { action: 'ListMultipartUploads', method: 'GET', on: 'bucket', needs: ['uploads'], takes: UPLOADS },
  { action: 'HeadObject', method: 'HEAD', on: 'object', needs: [], takes: [] },
  { action: 'GetObject', method: 'GET', on: 'object', needs: [], takes: [] },
  { action: 'ListParts', method: 'GET', on: 'object', needs: ['uploadId'], takes: ['max-parts', 'part-number-marker'] },
  { action: 'PutObject', method: 'PUT', on: 'object', needs: [], takes: [] },
  { action: 'UploadPart', method: 'PUT', on: 'object', needs: ['partNumber', 'uploadId'], takes: [] },
  { action: 'DeleteObject', method: 'DELETE', on: 'object', needs: [], takes: [] },
  { action: 'AbortMultipartUpload', method: 'DELETE', on: 'object', needs: ['uploadId'], takes: [] },
  { action: 'CreateMultipartUpload', method: 'POST', on: 'object', needs: ['uploads'], takes: [] },
  { action: 'CompleteMultipartUpload', method: 'POST', on: 'object', needs: ['uploadId'], takes: [] },
];

/**
 * Reads a request; undefined when it is none of the operations above.
 * @param domain names below it are buckets; without one the bucket stands in the path
 */
export function parseS3Route(request: IncomingMessage, domain?: string): S3Route | undefined {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '');
  if (domain !== undefined && !host.endsWith(`.${domain}`)) return undefined;
  const named = domain === undefined ? '' : `/${host.slice(0, -domain.length - 1)}`;
  // The raw path, since `URL` would fold `..` and `.` away, which are good parts of keys.
  const [path = '/', queryText = ''] = `${named}${request.url ?? '/'}`.split('?', 2);
  const [, bucket = '', ...rest] = path.split('/');
  const key = rest.map(decodeURIComponent).join('/');
  // An S3 server reads a plus as itself, `URLSearchParams` as a space.
  const query = new URLSearchParams(queryText.replaceAll('+', '%2B'));
  const names = [...query.keys()].filter((name) => name !== 'x-id');
  const on = key === '' ? 'bucket' : 'object';
  const rule = RULES.find(
    ({ method, on: target, needs, takes }) =>
      method === request.method &&
      target === on &&
      needs.every((name) => names.includes(name)) &&
      names.every((name) => needs.includes(name) || takes.includes(name)),
  );
  if (!rule || bucket === '') return undefined;
  if (rule.action === 'ListObjectsV2' && query.get('list-type') !== '2') return undefined;
  return { action: rule.action, bucket, key, query };
}
