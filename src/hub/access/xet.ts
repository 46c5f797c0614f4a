import { MirrorError } from '../../core/errors.ts';
import type { Content } from '../../core/ports.ts';
import { hubLibrary } from './library.ts';
import type { RepoFile, RepoName } from '../repo.ts';

/** Files larger than this come by Xet only: https://huggingface.co/docs/hub/xet/legacy-git-lfs */
export const plainLimit = 50_000_000_000;

/** What may wait in memory for its place in the file; Xet gives the parts of a file in no order. */
const maxInFlightBytes = 64 * 1024 * 1024;

export interface XetOptions {
  endpoint: string;
  /** A fetch of ours for one reading: its connections, token rules and errors. */
  fetch: (signal?: AbortSignal) => typeof fetch;
}

/**
 * The bytes of a file that Xet keeps in parts, put together again by @huggingface/hub; unverified. It can be opened at any
 * offset, so what was cut goes on there.
 * https://huggingface.co/docs/xet/en/download-protocol
 * @param plain the same file by plain HTTP, for a hub that does not offer this one by Xet
 */
export function xetContent(
  name: RepoName,
  commit: string,
  file: RepoFile,
  plain: Content,
  { endpoint, fetch: fetchFor }: XetOptions,
): Content {
  return {
    size: file.size,
    async *open(offset, signal, end = file.size) {
      let heard: MirrorError | undefined;
      const fetch = fetchFor(signal);
      const listening: typeof fetch = async (input, init) => {
        try {
          return await fetch(input, init);
        } catch (error) {
          if (error instanceof MirrorError) heard = error;
          throw error;
        }
      };
      try {
        const blob = await findBlob(name, commit, file, endpoint, listening);
        if (blob) yield* blob.slice(offset, end).stream();
        else yield* plain.open(offset, signal, end);
      } catch (error) {
        if (error instanceof MirrorError) throw error;
        throw heard ?? unreadable(name, file, error);
      }
    },
  };
}

/** Undefined when the hub gives this file by plain HTTP. @throws E_SIZE_MISMATCH, E_NOT_FOUND, and what `fetch` throws */
async function findBlob(
  { type, repo }: RepoName,
  commit: string,
  file: RepoFile,
  hubUrl: string,
  fetch: typeof globalThis.fetch,
): Promise<Blob | undefined> {
  const { downloadFile, fileDownloadInfo } = await hubLibrary();
  // The library puts the path into an address as it is.
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const request = { repo: { type, name: repo }, revision: commit, path, hubUrl, fetch };
  const downloadInfo = await fileDownloadInfo(request);
  const at = { side: 'source', item: `${repo}/${file.path}` } as const;
  if (!downloadInfo) throw new MirrorError('E_NOT_FOUND', `\`${at.item}\` is not there`, { at });
  if (!downloadInfo.xet) return undefined;
  if (downloadInfo.size !== file.size)
    throw new MirrorError(
      'E_SIZE_MISMATCH',
      `\`${at.item}\` has ${downloadInfo.size} bytes there, ${file.size} were announced`,
      { at },
    );
  return (await downloadFile({ ...request, downloadInfo, parallelDownloads: { maxInFlightBytes } })) ?? undefined;
}

/** What the library trips over is an answer that Xet should not have given; the next one may be right. */
function unreadable({ repo }: RepoName, file: RepoFile, cause: unknown): MirrorError {
  const item = `${repo}/${file.path}`;
  return new MirrorError('E_REMOTE', `what Xet gave of \`${item}\` cannot be put together`, {
    at: { side: 'source', item },
    cause,
  });
}
