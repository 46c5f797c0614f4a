import type { Checksum } from '../core/digest.ts';
import { type ErrorCode, type ErrorPlace, MirrorError, toMirrorError } from '../core/errors.ts';
import { checkRelativePath } from '../core/path.ts';
import type { Content } from '../core/ports.ts';
import { printable } from '../core/text.ts';
import { type HttpClient, type HttpResponse, redactUrl } from '../http/client.ts';
import { codeOfStatus, errorText, statusError } from '../http/failure.ts';
import { openRange } from '../http/range.ts';
import { resuming, type RetryOptions, retrying } from '../http/retry.ts';

export const defaultEndpoint = 'https://huggingface.co';

/** What was asked for: `ORG/NAME@REVISION`. */
export interface RepoRequest {
  repo: string;
  revision: string;
}

/** What the hub says of a repo at one commit. */
export interface RepoInfo {
  /** The hub's own name for it; differs from what was asked when a repo was renamed. */
  canonical: string;
  commit: string;
  gated: boolean;
  license: string | undefined;
}

/** A file of a repo with what the hub declares about its bytes. */
export interface RepoFile {
  path: string;
  size: number;
  /** sha256 for LFS files, git's blob hash for the others. */
  checksum: Checksum;
  /** Git object id of what git itself stores: for an LFS file that is its pointer. */
  gitOid: string;
}

const repoPattern = /^(?:[A-Za-z0-9][\w.-]{0,95}\/)?[A-Za-z0-9][\w.-]{0,95}$/;

/** @throws E_USAGE */
export function parseRepo(text: string): RepoRequest {
  const at = text.indexOf('@');
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? 'main' : text.slice(at + 1);
  if (!repoPattern.test(repo) || /--|\.\./.test(repo) || revision === '' || /[\s\\~^:?*[]|\.\./.test(revision)) {
    const hint = 'write it as `ORG/NAME` or `ORG/NAME@REVISION`, e.g. `BAAI/bge-m3@main`';
    throw new MirrorError('E_USAGE', `\`${printable(text)}\` is not a Hugging Face repo`, { hint });
  }
  return { repo, revision };
}

export interface HubOptions {
  endpoint: string;
  token: string | undefined;
  retry: RetryOptions;
}

/** Two listing calls a repo, then one GET a file: the listing has sizes and hashes, so no HEAD is needed. */
export class HubClient {
  readonly #http: HttpClient;
  readonly #options: HubOptions;
  readonly #origin: string;

  constructor(http: HttpClient, options: HubOptions) {
    this.#http = http;
    this.#options = options;
    this.#origin = new URL(options.endpoint).origin;
  }

  /** @throws E_NOT_FOUND, E_GATED, E_AUTH */
  async info(request: RepoRequest): Promise<RepoInfo> {
    return asListing(request.repo, () => this.#info(request));
  }

  async #info({ repo, revision }: RepoRequest): Promise<RepoInfo> {
    const { modelInfo } = await import('@huggingface/hub');
    const info = await modelInfo({
      name: repo,
      revision,
      hubUrl: this.#options.endpoint,
      fetch: this.#fetch(`${repo}@${revision}`),
      additionalFields: ['sha', 'tags'],
    });
    const commit = info.sha;
    if (!/^[0-9a-f]{40}$/.test(commit))
      throw new MirrorError('E_PROTOCOL', `the hub gave no commit for \`${repo}@${revision}\``, {
        at: { side: 'source', item: repo },
      });
    const license = info.tags.find((tag) => tag.startsWith('license:'))?.slice('license:'.length);
    return { canonical: info.name, commit, gated: info.gated !== false, license };
  }

  /** @throws E_CORRUPT for names that try to leave the tree */
  async files(repo: string, commit: string): Promise<RepoFile[]> {
    return asListing(repo, () => this.#files(repo, commit));
  }

  async #files(repo: string, commit: string): Promise<RepoFile[]> {
    const { listFiles } = await import('@huggingface/hub');
    const files: RepoFile[] = [];
    const listing = listFiles({
      repo: { type: 'model', name: repo },
      revision: commit,
      recursive: true,
      hubUrl: this.#options.endpoint,
      fetch: this.#fetch(`${repo}@${commit}`),
    });
    for await (const entry of listing) {
      if (files.length >= maxFiles)
        throw new MirrorError('E_PROTOCOL', `the hub lists more than ${maxFiles} files for \`${repo}\``, {
          at: { side: 'source', item: repo },
        });
      if (entry.type !== 'file') continue;
      const path = checkRelativePath(entry.path, `the repo \`${repo}\``);
      const gitOid = entry.oid ?? '';
      const checksum: Checksum = entry.lfs
        ? { algorithm: 'sha256', hex: entry.lfs.oid }
        : { algorithm: 'git-sha1', hex: gitOid };
      if (!/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(checksum.hex))
        throw new MirrorError('E_PROTOCOL', `the hub declares no hash for \`${repo}/${printable(path)}\``, {
          at: { side: 'source', item: repo },
        });
      files.push({ path, size: entry.lfs?.size ?? entry.size, checksum, gitOid });
    }
    return files;
  }

  /** The bytes of a file, unverified; the redirect to the content network is asked for anew at each opening, as it expires. */
  content(repo: string, commit: string, file: RepoFile): Content {
    const at: ErrorPlace = { side: 'source', item: `${repo}/${file.path}` };
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    const url = new URL(`${this.#options.endpoint}/${repo}/resolve/${commit}/${path}`);
    const send = async (range: Record<string, string>, signal?: AbortSignal): Promise<HttpResponse> => {
      const headers = { ...this.#authorization(), ...range, 'accept-encoding': 'identity' };
      const response = await this.#http.send({ method: 'GET', url, headers, at, signal });
      if (response.status >= 400) throw await this.#failure(response, at);
      return response;
    };
    const plain: Content = {
      size: file.size,
      open: (offset, signal) => openRange((range) => send(range, signal), offset, file.size, at),
    };
    return resuming(plain, this.#options.retry);
  }

  #authorization(): Record<string, string> {
    return this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` };
  }

  /** What @huggingface/hub calls instead of the global fetch: our connections, our token rules, our errors. */
  #fetch(item: string): typeof fetch {
    let pages = 0;
    return async (input, init) => {
      pages += 1;
      if (pages > maxPages)
        throw new MirrorError('E_PROTOCOL', `the hub lists \`${item}\` on more than ${maxPages} pages`, {
          at: { side: 'source', item },
        });
      const url = new URL(input instanceof Request ? input.url : input);
      const at: ErrorPlace = { side: 'source', item };
      const accept = new Headers(init?.headers).get('accept') ?? 'application/json';
      return retrying(async () => {
        const headers = url.origin === this.#origin ? { accept, ...this.#authorization() } : { accept };
        const response = await this.#http.send({ method: 'GET', url, headers, at });
        if (response.status !== 200) throw await this.#failure(response, at);
        const type = response.headers['content-type'] ?? '';
        if (!type.startsWith('application/json')) {
          await response.discard();
          throw new MirrorError(
            'E_PROTOCOL',
            `\`${url.host}\` answered with \`${type}\` where a hub answers with JSON`,
            {
              hint: 'check HF_ENDPOINT, and whether a proxy asks for a login',
              at: { ...at, url: redactUrl(response.url), status: response.status },
            },
          );
        }
        const link = response.headers['link'];
        const body = await response.bytes(256 * 1024 * 1024);
        return new Response(new Uint8Array(body), {
          headers: { 'content-type': type, ...(link === undefined ? {} : { link }) },
        });
      }, this.#options.retry);
    };
  }

  /** https://huggingface.co/docs/hub/api : `X-Error-Code` says more than the status. */
  async #failure(response: HttpResponse, at: ErrorPlace): Promise<MirrorError> {
    const said = response.headers['x-error-message'] ?? '';
    const kind = response.headers['x-error-code'] ?? '';
    const away = response.url.origin !== this.#origin;
    const text = await errorText(response);
    // A signed address that has expired: asking the hub again gives a fresh one.
    if (away && (response.status === 401 || response.status === 403))
      return statusError(response, at, 'the signed address was refused', 'E_REMOTE');
    const code =
      hubCodes[kind] ??
      (response.status === 401 && !/credentials/i.test(text) ? 'E_NOT_FOUND' : codeOfStatus(response.status));
    const place = { ...at, url: redactUrl(response.url), status: response.status };
    const item = at.item ?? '';
    const repo = item.split('@')[0] ?? item;
    const page = `${this.#options.endpoint}/${repo.split('/').slice(0, 2).join('/')}`;
    const token =
      this.#options.token === undefined
        ? 'set HF_TOKEN to a token of an account that may read it'
        : 'check that the token of HF_TOKEN may read it';
    if (said.startsWith('Access to this resource is disabled'))
      return new MirrorError('E_AUTH', `\`${repo}\` has been disabled by the hub`, { hint: `see ${page}`, at: place });
    if (kind === 'RevisionNotFound')
      return new MirrorError('E_NOT_FOUND', `\`${item}\`: there is no such revision`, {
        hint: `see ${page}/tree/main for what there is`,
        at: place,
      });
    if (kind === 'EntryNotFound')
      return new MirrorError('E_NOT_FOUND', `\`${item}\`: there is no such file`, { at: place });
    if (code === 'E_GATED')
      return new MirrorError(code, `\`${repo}\` is gated: ${printable(said || 'access has to be asked for')}`, {
        hint: `open ${page}, accept the terms there, and ${token}`,
        at: place,
      });
    if (code === 'E_NOT_FOUND')
      return new MirrorError(code, `\`${repo}\` is not on the hub, or is private`, {
        hint: `check the spelling; for a private repo ${token}`,
        at: place,
      });
    if (code === 'E_AUTH')
      return new MirrorError(code, `the hub refused the token for \`${repo}\``, { hint: token, at: place });
    return statusError(response, at, said, code);
  }
}

/** A listing that has more than this never ends. */
const maxFiles = 1_000_000;
const maxPages = 2000;

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

const hubCodes: Record<string, ErrorCode> = {
  RepoNotFound: 'E_NOT_FOUND',
  RevisionNotFound: 'E_NOT_FOUND',
  EntryNotFound: 'E_NOT_FOUND',
  GatedRepo: 'E_GATED',
};
