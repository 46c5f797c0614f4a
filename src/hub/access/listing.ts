import type { Checksum } from '../../core/digest.ts';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { hubLibrary } from './library.ts';
import { refuseDoubles } from '../names.ts';
import { isCommit, isRepoName, type RepoFile, type RepoInfo, type RepoName, type RepoRequest } from '../repo.ts';

/** How @huggingface/hub reaches the hub. */
export interface ListingOptions {
  endpoint: string;
  fetch: typeof fetch;
}

/** A listing that has more than this never ends. */
const maxFiles = 1_000_000;

/** What a revision stands for. @throws E_PROTOCOL, and what `fetch` throws */
export async function readInfo(request: RepoRequest, options: ListingOptions): Promise<RepoInfo> {
  return asListing(request.repo, async () => {
    const hub = await hubLibrary();
    const { repo: name, revision } = request;
    const common = { name, revision, hubUrl: options.endpoint, fetch: options.fetch };
    const info =
      request.type === 'model'
        ? await hub.modelInfo({ ...common, additionalFields: ['sha', 'tags'] })
        : request.type === 'dataset'
          ? await hub.datasetInfo({ ...common, additionalFields: ['sha', 'tags'] })
          : await hub.spaceInfo({ ...common, additionalFields: ['sha', 'tags'] });
    const commit = info.sha;
    if (!isCommit(commit))
      throw new MirrorError('E_PROTOCOL', `the hub gave no commit for \`${name}@${revision}\``, {
        at: { side: 'source', item: name },
      });
    if (isCommit(revision) && commit !== revision)
      throw new MirrorError('E_PROTOCOL', `the hub was asked for \`${name}@${revision}\` and speaks of \`${commit}\``, {
        hint: 'check HF_ENDPOINT: what it leads to does not keep to the commit that is asked for',
        at: { side: 'source', item: name },
      });
    return { canonical: canonicalName(name, info.name), commit, gated: isGated(info), ...licenceOf(info.tags) };
  });
}

/** A mirror may say less than the hub does, and then a repo is called what it was asked for. @throws E_PROTOCOL */
function canonicalName(asked: string, said: unknown): string {
  if (said === undefined) return asked;
  if (typeof said === 'string' && isRepoName(said)) return said;
  throw new MirrorError('E_PROTOCOL', `the hub calls \`${asked}\` something that is no repo`, {
    at: { side: 'source', item: asked },
  });
}

/** `false`, `auto` or `manual`; a mirror may say nothing. */
function isGated(info: object): boolean {
  const gated: unknown = 'gated' in info ? info.gated : false;
  return gated === true || (typeof gated === 'string' && gated !== '');
}

function licenceOf(tags: unknown): { license?: string } {
  const texts = Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [];
  const license = texts.find((tag) => tag.startsWith('license:'))?.slice('license:'.length);
  return license === undefined ? {} : { license: printable(license) };
}

/**
 * All files of a commit. A commit only: @huggingface/hub does not escape a revision here, so that `refs/pr/1` would name
 * a folder of another revision.
 * Names are as the hub gives them: whoever makes a path of one has to check it.
 * @throws E_PROTOCOL, E_CORRUPT for names that cannot stand side by side
 */
export async function readFiles(name: RepoName, commit: string, options: ListingOptions): Promise<RepoFile[]> {
  const { type, repo } = name;
  return asListing(repo, async () => {
    const { listFiles } = await hubLibrary();
    const files: RepoFile[] = [];
    const listing = listFiles({
      repo: { type, name: repo },
      revision: commit,
      recursive: true,
      hubUrl: options.endpoint,
      fetch: options.fetch,
    });
    for await (const entry of listing) {
      if (files.length >= maxFiles)
        throw new MirrorError('E_PROTOCOL', `the hub lists more than ${maxFiles} files for \`${repo}\``, {
          at: { side: 'source', item: repo },
        });
      if (entry.type === 'file') files.push(repoFile(repo, entry));
    }
    refuseDoubles(
      files.map(({ path }) => path),
      repo,
    );
    return files;
  });
}

interface ListedFile {
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string; size: number };
}

function repoFile(repo: string, { path, size, oid: gitOid = '', lfs }: ListedFile): RepoFile {
  const checksum: Checksum = lfs ? { algorithm: 'sha256', hex: lfs.oid } : { algorithm: 'git-sha1', hex: gitOid };
  const digits = checksum.algorithm === 'sha256' ? 64 : 40;
  if (!/^[0-9a-f]+$/.test(checksum.hex) || checksum.hex.length !== digits)
    throw new MirrorError('E_PROTOCOL', `the hub declares no hash for \`${repo}/${printable(path)}\``, {
      at: { side: 'source', item: repo },
    });
  const length = lfs?.size ?? size;
  if (!Number.isSafeInteger(length) || length < 0)
    throw new MirrorError('E_PROTOCOL', `the hub declares no size for \`${repo}/${printable(path)}\``, {
      at: { side: 'source', item: repo },
    });
  return {
    path,
    size: length,
    checksum,
    gitOid: typeof gitOid === 'string' ? gitOid : '',
    ...(lfs ? { sha256: lfs.oid } : {}),
  };
}

/** What is no listing makes the library trip over it; that is the hub's doing. */
async function asListing<T>(repo: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const known = toMirrorError(error);
    if (known.code !== 'E_INTERNAL') throw known;
    throw new MirrorError('E_PROTOCOL', `the hub gave an answer for \`${repo}\` that cannot be read`, {
      hint: 'check HF_ENDPOINT',
      at: { side: 'source', item: repo },
      cause: error,
    });
  }
}
