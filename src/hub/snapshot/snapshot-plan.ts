import { MirrorError, toMirrorError } from '../../core/errors.ts';
import { checkRelativePath } from '../../core/path.ts';
import { printable } from '../../core/text.ts';
import { hasFile } from '../../fs/receive.ts';
import type { HubClient } from '../access/client.ts';
import { type Choice, chooseFiles, type Filter } from '../selection/filter.ts';
import { patternOf } from '../selection/fnmatch.ts';
import { cacheOf, noticePath } from '../places.ts';
import type { RepoFile, RepoInfo, RepoRequest } from '../repo.ts';

/** Who made us want a repo that the user did not name. */
export interface Naming {
  repo: string;
  file: string;
  /** Path of the key in the file, with dots. */
  key: string;
}

/** A repo pinned to a commit, with every file that is wanted of it. */
export interface SnapshotPlan extends RepoRequest, RepoInfo {
  filter?: Filter | undefined;
  files: RepoFile[];
  /** Licences and model cards that the filter keeps out of the snapshot, but not out of the store. */
  notices?: RepoFile[] | undefined;
  namedBy?: Naming[] | undefined;
}

/**
 * Two calls to the hub.
 * @throws E_NOT_FOUND also when nothing is left to fetch, E_CORRUPT for names that try to leave the tree, E_GATED, E_AUTH, E_USAGE
 */
export async function planSnapshot(
  hub: HubClient,
  request: RepoRequest,
  filter: Filter,
): Promise<{ plan: SnapshotPlan; choices: Choice<RepoFile>[] }> {
  const { type, repo, revision } = request;
  const info = await hub.info(request);
  const choices = chooseFiles(await hub.files(request, info.commit), filter);
  const filesAt = (place: string): RepoFile[] => choices.filter((each) => each.place === place).map(({ file }) => file);
  const files = filesAt('snapshot');
  const notices = filesAt('notice');
  if (files.length === 0) throw nothingLeft(request, choices.length);
  for (const { path } of [...files, ...notices]) checkPath(path, repo);
  const isWhole = filter.preset === 'all' && filter.include.length + filter.exclude.length === 0;
  const plan = {
    type,
    repo,
    revision,
    ...info,
    ...(isWhole ? {} : { filter }),
    files,
    ...(notices.length > 0 ? { notices } : {}),
  };
  return { plan, choices };
}

/** What is not wanted may be called anything. @throws E_CORRUPT */
function checkPath(path: string, repo: string): void {
  try {
    checkRelativePath(path, `the repo \`${repo}\``);
  } catch (error) {
    const { code, message } = toMirrorError(error);
    const shown = printable(path);
    throw new MirrorError(code, message, {
      hint: `no reader of every system can have it: ask the owner of the repo to rename it, or leave it out with \`--exclude '${patternOf(path)}'\``,
      at: { side: 'source', item: `${repo}/${shown}` },
    });
  }
}

function nothingLeft({ repo, revision }: RepoRequest, all: number): MirrorError {
  const at = { side: 'source', item: repo } as const;
  if (all === 0) return new MirrorError('E_NOT_FOUND', `\`${repo}@${revision}\` has no files`, { at });
  return new MirrorError('E_NOT_FOUND', `no file of \`${repo}@${revision}\` is wanted, of ${all} that there are`, {
    hint: 'see what there is with `--dry-run` and without `--filter`, `--include` and `--exclude`',
    at,
  });
}

/**
 * Bytes that are still to come, those of partial files left out, those of notices counted.
 * @param isShared says of a file that is not there whether it comes without taking any space
 */
export async function missingBytes(
  store: string,
  plan: SnapshotPlan,
  symlinks: boolean,
  isShared: (plan: SnapshotPlan, file: RepoFile) => Promise<boolean> = () => Promise.resolve(false),
): Promise<number> {
  const cache = cacheOf(store, plan, symlinks);
  let bytes = 0;
  const isBare = await cache.isBare(plan.commit);
  for (const file of unique(plan.files)) {
    if (!isBare && (await cache.find(plan.commit, file)) !== undefined) continue;
    if (await isShared(plan, file)) continue;
    bytes += isBare ? file.size : Math.max(0, file.size - (await cache.partialBytes(file)));
  }
  for (const file of plan.notices ?? [])
    if (!(await hasFile(noticePath(store, plan, file), file.size))) bytes += file.size;
  return bytes;
}

/** Files with the same bytes are fetched once. */
export function unique(files: readonly RepoFile[]): RepoFile[] {
  return [...new Map(files.map((file) => [file.checksum.hex, file])).values()];
}
