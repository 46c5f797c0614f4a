import type { Checksum } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';

export const repoTypes = ['model', 'dataset', 'space'] as const;

export type RepoType = (typeof repoTypes)[number];

/** A repo of the hub; the three types have name spaces of their own. */
export interface RepoName {
  type: RepoType;
  /** `ORG/NAME`, or `NAME` for a canonical repo. */
  repo: string;
}

/** What was asked for: `ORG/NAME@REVISION`. */
export interface RepoRequest extends RepoName {
  revision: string;
}

/** What the hub says of a repo at one commit. */
export interface RepoInfo {
  /** The hub's own name for it; differs from what was asked when a repo was renamed. */
  canonical: string;
  commit: string;
  gated: boolean;
  license?: string | undefined;
}

/** A file of a repo with what the hub declares about its bytes. */
export interface RepoFile {
  path: string;
  size: number;
  /** sha256 for LFS files, git's blob hash for the others. */
  checksum: Checksum;
  /** Git object id of what git itself stores: for an LFS file that is its pointer. */
  gitOid: string;
  /** Hex; of an LFS file the hub says it, of the others we know it when we have them. */
  sha256?: string | undefined;
}

const repoPattern = /^(?:\w(?:[\w.-]{0,94}\w)?\/)?\w(?:[\w.-]{0,94}\w)?$/;

/** Whether the hub could have a repo of this name. */
export function isRepoName(text: string): boolean {
  return repoPattern.test(text) && !/--|\.\.|\.git$/.test(text);
}

/** Whether a revision is a commit, and so the same for ever. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** Whether git could have a branch, tag or commit of this name that is a path as well: it becomes one below `refs/`. */
export function isRevision(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return text !== '' && !/[\s\\~^:?*[\u0000-\u001f\u007f]|\.\.|\/\/|^\/|\/$|^\.|\/\./.test(text);
}

/** @throws E_USAGE */
export function parseRepo(text: string, type: RepoType = 'model'): RepoRequest {
  const at = text.indexOf('@');
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? 'main' : text.slice(at + 1);
  if (!isRepoName(repo) || !isRevision(revision)) {
    const hint =
      pageHint(text) ?? fileHint(text) ?? 'write it as `ORG/NAME` or `ORG/NAME@REVISION`, e.g. `BAAI/bge-m3@main`';
    throw new MirrorError('E_USAGE', `\`${printable(text)}\` is not a Hugging Face repo`, { hint });
  }
  return { type, repo, revision };
}

/** For who types the address of a repo's page, as a browser shows it. */
function pageHint(text: string): string | undefined {
  const page =
    /^(?:(?:https?:\/\/)?[\w.-]+\.\w+(?::\d+)?\/|(?=(?:dataset|space)s\/))(?:(dataset|space)s\/)?([\w.-]+\/[\w.-]+)(?:\/(?:tree|blob|resolve)\/([\w.-]+).*)?$/.exec(
      text,
    );
  if (!page) return undefined;
  const [, type, repo = '', revision] = page;
  if (!isRepoName(repo)) return undefined;
  return `write it as \`${repo}${revision === undefined ? '' : `@${revision}`}\`${type === undefined ? '' : ` with \`--type ${type}\``}`;
}

/** For who names files behind the repo, as other programs have it. */
function fileHint(text: string): string | undefined {
  return /[*?[]/.test(text) || isFileLike(text)
    ? 'files of a repo are chosen with `--include`, which stands before each of them'
    : undefined;
}

/** Whether a name ends as files of models do. The hub could have a repo of that name all the same. */
export function isFileLike(text: string): boolean {
  return /\.(?:json|jsonl|safetensors|bin|gguf|onnx|pth?|ckpt|h5|msgpack|npz?|pkl|parquet|csv|txt|md|py|ya?ml|model|jinja|tiktoken)$/i.test(
    text,
  );
}

/** The path of a repo's page below the endpoint; its files lie below that too. */
export function pageOf({ type, repo }: RepoName): string {
  return type === 'model' ? repo : `${type}s/${repo}`;
}
