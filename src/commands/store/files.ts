import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import type { Content } from '../../core/ports.ts';
import { onceMore } from '../../core/once-more.ts';
import type { ReportItem } from '../../core/report.ts';
import { printable } from '../../core/text.ts';
import { partialSuffix } from '../../fs/atomic.ts';
import { BatchWriter } from '../../fs/batch-writer.ts';
import { syncDirectory } from '../../fs/directories.ts';
import type { Freed } from '../../fs/freed.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { fileContent } from '../../fs/read.ts';
import { hasFile, receiveFile } from '../../fs/receive.ts';
import { type HttpRequest, type HttpResponse, redactUrl } from '../../http/client.ts';
import { failure } from '../../http/failure.ts';
import { openRange } from '../../http/range.ts';
import { resuming, retrying } from '../../http/retry.ts';
import { isFileName, type LockedFile } from '../../manifest/schema.ts';
import { attempt } from '../attempt.ts';
import { hasPassword } from '../places/address.ts';
import type { Context } from '../context.ts';
import type { Need } from './space.ts';

/** Folder of the store for single files. */
export const filesFolder = 'files';

/** Parameters of addresses that are a secret for a while. */
const signed =
  /^(?:x-amz-(?:signature|security-token)|x-goog-signature|signature|sig|token|access_token|key|api_?key)$/i;

/** What a mirror manifest says of a single file, with its name completed. @throws E_MANIFEST */
export function lockedFile(file: { url: string; sha256?: string | undefined; name?: string | undefined }): LockedFile {
  const shown = printable(file.url.split(/[?#]/)[0] ?? '');
  if (!/^https?:\/\//.test(file.url) || !URL.canParse(file.url))
    throw new MirrorError('E_MANIFEST', `\`${shown}\` is no address that begins with https://`);
  const url = new URL(file.url);
  if (hasPassword(file.url) || [...url.searchParams.keys()].some((key) => signed.test(key)))
    throw new MirrorError('E_MANIFEST', `the address \`${redactUrl(url)}\` holds a secret`, {
      hint: 'secrets do not stand in a manifest: use an address that needs none',
    });
  const name = file.name ?? lastSegment(url);
  if (!isFileName(name))
    throw new MirrorError('E_MANIFEST', `\`${redactUrl(url)}\` gives no name for the file`, {
      hint: 'add a `name` of letters, digits, `.`, `_`, `+` and `-`',
    });
  return { url: url.href, name, ...(file.sha256 === undefined ? {} : { sha256: file.sha256 }) };
}

function lastSegment({ pathname }: URL): string {
  const segment = pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** @throws E_MANIFEST when two files would get one name, on any file system */
export function refuseFileCollisions(files: readonly LockedFile[]): void {
  const taken = new Map<string, string>();
  for (const { url, name } of files) {
    const other = taken.get(name.toLowerCase());
    if (other !== undefined)
      throw new MirrorError(
        'E_MANIFEST',
        `\`${redactUrl(other)}\` and \`${redactUrl(url)}\` would both be \`${name}\``,
        {
          hint: 'give one of them a `name`',
        },
      );
    taken.set(name.toLowerCase(), url);
  }
}

/** Asks for the sizes; a server that does not tell keeps its file in the plan. What is not there becomes a failed item. */
export async function sizeFiles(
  files: readonly LockedFile[],
  items: ReportItem[],
  context: Context,
): Promise<LockedFile[]> {
  const sized: LockedFile[] = [];
  for (const file of files)
    await attempt(items, 'file', file.name, async () => {
      const at = placeOf(file);
      const response = await retrying(async () => {
        const answer = await context.http.send({ method: 'HEAD', url: new URL(file.url), at, headers: identity });
        if (answer.status >= 400 && ![403, 405, 501].includes(answer.status)) throw await failure(answer, at);
        return answer;
      }, context.retry);
      await response.discard();
      const length = response.status === 200 ? response.headers['content-length'] : undefined;
      const size = length === undefined ? {} : { size: Number(length) };
      sized.push({ ...file, ...size });
      items.push({
        kind: 'file',
        name: file.name,
        state: 'done',
        bytes: size.size ?? 0,
        detail: { url: redactUrl(file.url) },
      });
    });
  return sized;
}

/** Single files that are still to come, where their size is known; bytes of partial files that count left out. */
export async function needOfFiles(files: readonly LockedFile[], store: string): Promise<Need> {
  let bytes = 0;
  for (const { name, size = 0, sha256 } of files) {
    const path = join(store, filesFolder, name);
    if (await hasFile(path, size)) continue;
    // What is not known by its hash begins anew.
    const partial = sha256 === undefined ? undefined : await stat(`${path}${partialSuffix}`).catch(() => undefined);
    bytes += Math.max(0, size - (partial?.size ?? 0));
  }
  return { atMost: bytes, exactly: () => Promise.resolve(bytes) };
}

/**
 * Fetches single files into the store. A file without a sha256 gets the one that its bytes have on first use.
 * @param verify reads every byte of what is there already
 * @returns the files as the lock has to know them from now on
 */
export async function pullFiles(
  files: readonly LockedFile[],
  items: ReportItem[],
  store: string,
  context: Context,
  verify = false,
): Promise<LockedFile[]> {
  const known = [...files];
  for (const [index, file] of files.entries())
    await attempt(items, 'file', file.name, async () => {
      context.report({ type: 'stage', text: `fetching ${file.name}` });
      const path = join(store, filesFolder, file.name);
      const isThere = await isPresent(path, file, verify, context);
      const found = isThere
        ? { ...file, size: file.size ?? (await stat(path)).size }
        : await fetchOne(path, file, context);
      known[index] = found;
      const { size = 0, sha256 = '' } = found;
      const state = isThere ? 'present' : 'done';
      context.report({ type: 'item', item: file.name, state, bytes: isThere ? 0 : size });
      items.push({
        kind: 'file',
        name: file.name,
        state,
        digest: `sha256:${sha256}`,
        bytes: isThere ? 0 : size,
        detail: { url: redactUrl(file.url), ...(file.sha256 === undefined ? { firstUse: true } : {}) },
      });
      // The lock will say that it is there.
      if (!isThere) await syncDirectory(join(store, filesFolder));
    });
  return known;
}

/** Takes away what killed runs left of files that the lock does not name any more. */
export async function sweepFiles(files: readonly LockedFile[], store: string): Promise<Freed> {
  const wanted = new Set(files.map(({ name }) => `${name}${partialSuffix}`));
  const freed: Freed = { files: 0, bytes: 0 };
  for (const name of await readdir(join(store, filesFolder)).catch(() => [])) {
    if (!name.endsWith(partialSuffix) || wanted.has(name)) continue;
    const path = join(store, filesFolder, name);
    freed.bytes += (await stat(path)).size;
    freed.files += 1;
    await rm(path);
  }
  return freed;
}

/** Compares single files of a store with its lock, every byte. What is wrong becomes a failed item. */
export async function checkFiles(
  files: readonly LockedFile[],
  items: ReportItem[],
  store: string,
  pool: HashPool,
): Promise<void> {
  for (const { name, size, sha256 } of files)
    await attempt(items, 'file', name, async () => {
      const path = join(store, filesFolder, name);
      const found = await stat(path).catch(() => undefined);
      const at = { side: 'source', item: name } as const;
      const hint = 'remove it, and run the `pull` again that brought it';
      if (!found?.isFile() || sha256 === undefined)
        throw new MirrorError('E_MISSING', `\`${name}\` is missing in the store`, { hint, at });
      const isRight =
        (size ?? found.size) === found.size && (await pool.sha256([{ path, offset: 0, size: found.size }])) === sha256;
      if (!isRight)
        throw new MirrorError('E_DIGEST_MISMATCH', `\`${name}\` has other bytes than the lock says`, { hint, at });
      items.push({ kind: 'file', name, state: 'present', digest: `sha256:${sha256}`, bytes: 0 });
    });
}

const identity = { 'accept-encoding': 'identity' };

function placeOf(file: LockedFile): HttpRequest['at'] {
  return { side: 'source', item: file.name };
}

/** By size where that is known and enough, else by its bytes. */
async function isPresent(path: string, file: LockedFile, verify: boolean, context: Context): Promise<boolean> {
  const { name, size, sha256 } = file;
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || sha256 === undefined) return false;
  if (size !== undefined && (found.size !== size || !verify)) return found.size === size;
  const hash = createHash('sha256');
  const content = fileContent([{ path, offset: 0, size: found.size }]);
  for await (const chunk of content.open(0, context.signal)) hash.update(chunk);
  if (hash.digest('hex') === sha256) return true;
  context.report({ type: 'warning', text: `\`${name}\` was changed in the store; it is fetched again` });
  return false;
}

async function fetchOne(path: string, file: LockedFile, context: Context): Promise<LockedFile> {
  const fetchTo = file.sha256 === undefined || file.size === undefined ? firstUse : fetchKnown;
  return onceMore(
    context.report,
    () => fetchTo(path, file, context, (chunk) => context.report({ type: 'bytes', bytes: chunk.length })),
    () => fetchTo(path, file, context, () => {}),
  );
}

type OnBytes = (chunk: Uint8Array) => void;

async function fetchKnown(path: string, file: LockedFile, context: Context, onBytes: OnBytes): Promise<LockedFile> {
  const { sha256 = '', size = 0 } = file;
  const content = resuming(contentAt(file, size, context), context.retry);
  const expected = { size, checksum: { algorithm: 'sha256', hex: sha256 } as const, item: file.name };
  await receiveFile(path, content, expected, { signal: context.signal, onBytes });
  return file;
}

/** What the server says now is what the lock will hold it to. @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH */
async function firstUse(path: string, file: LockedFile, context: Context, onBytes: OnBytes): Promise<LockedFile> {
  const length = file.size ?? (await lengthOf(file, context));
  const open = (bytes: AsyncIterable<Uint8Array>): Promise<LockedFile> =>
    receiveAll(path, file, bytes, length, onBytes);
  if (length !== undefined)
    return open(resuming(contentAt(file, length, context), context.retry).open(0, context.signal));
  if (file.sha256 === undefined)
    throw new MirrorError('E_PROTOCOL', `\`${redactUrl(file.url)}\` does not say how many bytes it has`, {
      hint: 'give its `sha256` in the mirror manifest: without either nobody could tell that it is whole',
      at: placeOf(file),
    });
  return retrying(() => open(untold(file, context)), context.retry);
}

async function receiveAll(
  path: string,
  file: LockedFile,
  bytes: AsyncIterable<Uint8Array>,
  length: number | undefined,
  onBytes: OnBytes,
): Promise<LockedFile> {
  const partial = `${path}${partialSuffix}`;
  await mkdir(dirname(path), { recursive: true });
  const out = await open(partial, 'w', 0o644);
  const hash = createHash('sha256');
  let size = 0;
  try {
    const writer = new BatchWriter(out, 0);
    for await (const chunk of bytes) {
      hash.update(chunk);
      size += chunk.length;
      onBytes(chunk);
      await writer.write(chunk);
    }
    await writer.flush();
    await out.sync();
    if (length !== undefined && size !== length)
      throw new MirrorError('E_SIZE_MISMATCH', `\`${file.name}\` has ${size} bytes, ${length} were announced`);
  } finally {
    await out.close();
  }
  const sha256 = hash.digest('hex');
  if (file.sha256 !== undefined && file.sha256 !== sha256)
    throw new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${file.name}\` has digest \`sha256:${sha256}\`, wanted \`sha256:${file.sha256}\``,
      { at: placeOf(file) },
    );
  await rename(partial, path);
  return { ...file, size, sha256 };
}

/** A whole answer, however long it is: its hash tells whether it is whole. */
async function* untold(file: LockedFile, context: Context): AsyncGenerator<Uint8Array> {
  const at = placeOf(file);
  const { signal } = context;
  const response = await context.http.send({ method: 'GET', url: new URL(file.url), at, headers: identity, signal });
  if (response.status !== 200) throw await failure(response, at);
  yield* response.body;
}

/** Undefined when the server does not say how long the file is. */
async function lengthOf(file: LockedFile, context: Context): Promise<number | undefined> {
  const at = placeOf(file);
  return retrying(async () => {
    const response = await context.http.send({ method: 'GET', url: new URL(file.url), at, headers: identity });
    if (response.status !== 200) throw await failure(response, at);
    const length = response.headers['content-length'];
    await response.discard();
    return length === undefined ? undefined : Number(length);
  }, context.retry);
}

/** A file that changes while it is fetched is noticed by its tag, where the server gives one. */
function contentAt(file: LockedFile, size: number, context: Context): Content {
  const at = placeOf(file);
  let tag: string | undefined;
  const send = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
    const headers = { ...identity, ...range };
    const response = await context.http.send({ method: 'GET', url: new URL(file.url), headers, at, signal });
    if (response.status >= 400) throw await failure(response, at);
    const found = response.headers['etag'];
    if (tag !== undefined && found !== undefined && found !== tag) {
      await response.discard();
      throw new MirrorError('E_CORRUPT', `\`${redactUrl(file.url)}\` changed while it was fetched`, {
        hint: 'run the same command again',
        at,
      });
    }
    tag ??= found;
    return response;
  };
  return { size, open: (offset, signal) => openRange((range) => send(range, signal), offset, size, at) };
}
