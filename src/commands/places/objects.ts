import { join } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import type { ObjectStore } from '../../core/ports.ts';
import { DirectoryStore } from '../../objects/dir.ts';
import { GcsStore } from '../../objects/gcs.ts';
import { S3Store } from '../../objects/s3.ts';
import { s3Settings } from '../../objects/s3-settings.ts';
import type { Context } from '../context.ts';

/**
 * @param url `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `file://DIR`
 * @param part of the work that is done there: keeps out of a directory only who does the same
 * @throws E_USAGE; of a directory E_PATH, and E_REFUSED when nothing can be written there or another process works in it
 */
export async function openObjects(context: Context, url: string, part?: string): Promise<ObjectStore> {
  const directory = directoryOf(url, context);
  if (directory === undefined) return openBucket(context, url);
  const store = new DirectoryStore(directory);
  await store.prepare();
  await context.lock(directory, part === undefined ? undefined : join(directory, `.sie-mirror.${part}.lock`));
  return store;
}

/** The same for one who only looks: no directory is made, and nobody is kept out. @throws E_USAGE */
export async function viewObjects(context: Context, url: string): Promise<ObjectStore> {
  const directory = directoryOf(url, context);
  return directory === undefined ? openBucket(context, url) : new DirectoryStore(directory);
}

const bucketNames = { s3: /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, gs: /^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/ };

/** @throws E_USAGE */
function openBucket(context: Context, url: string): ObjectStore {
  const [, scheme, bucket = '', path = ''] = /^(s3|gs):\/\/([^/]+)(?:\/(.*))?$/.exec(url) ?? [];
  if (scheme !== 's3' && scheme !== 'gs')
    throw new MirrorError('E_USAGE', `\`${url}\` is no place for objects`, {
      hint: 'write it as `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `file:///DIR`; models go to `oci://HOST/PREFIX` too',
    });
  if (!bucketNames[scheme].test(bucket))
    throw new MirrorError('E_USAGE', `\`${bucket}\` is no name that a bucket can have`, {
      hint: 'at least three lower-case letters, digits, `-` and `.` were wanted',
    });
  const { env, ca, retry } = context;
  const prefix = path.replace(/^\/+|\/+$/g, '');
  if (scheme === 's3')
    return new S3Store({
      bucket,
      prefix,
      ca,
      ...s3Settings(env),
      isUnchecked: (host) => isUnchecked(host, context),
      retry,
    });
  // By the name that gcloud has for it: a zone reaches Google by an endpoint of its own.
  const endpoint = env['CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE']?.replace(/\/+$/, '') || undefined;
  return new GcsStore({ bucket, prefix, endpoint, retry });
}

/** The scheme of a store stands in its address: one that is named as insecure and speaks HTTPS is to be believed. */
function isUnchecked(host: string, { http, report }: Context): boolean {
  if (http.schemeOf(host) === 'https') return false;
  report({ type: 'warning', text: `the certificate of \`${host}\` is not checked, as \`--insecure-host\` wants it` });
  return true;
}

function directoryOf(url: string, context: Context): string | undefined {
  if (!url.startsWith('file:')) return undefined;
  return URL.canParse(url) && url.startsWith('file:///')
    ? decodeURIComponent(new URL(url).pathname)
    : context.path(url.replace(/^file:(?:\/\/)?/, ''));
}
