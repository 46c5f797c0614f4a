import type { Stats } from 'node:fs';
import { lstat, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { partialSuffix } from '../../fs/atomic.ts';
import { abandonedMs, type Freed, sumOf } from '../../fs/freed.ts';
import { noticesIn } from '../places.ts';
import { UnfinishedRuns } from './unfinished.ts';

const repoFolderPattern = /^(?:model|dataset|space)s--/;

/** A blob that is not whole, in one piece or in ranges, or one that was being adopted or copied. */
const partialBlob = /^([0-9a-f]{40}|[0-9a-f]{64})\.(?:(ranges|journal|adopted|copy)\.)?partial$/;

/** The same of all repos of a store, of which none has ended well just now: what nobody went on with for long. */
export async function sweepRepos(store: string, now: number = Date.now()): Promise<Freed> {
  const freed: Freed[] = [];
  for (const folder of await namesIn(join(store, 'hub')))
    if (repoFolderPattern.test(folder))
      freed.push(await sweepRepo(join(store, 'hub', folder), noticesIn(store, folder), false, now));
  return sumOf(freed);
}

/**
 * Takes away what runs that were killed left of a repo and nobody wants: its branch has moved on since, or a filter keeps
 * the file out now. Only who keeps all others out of the store may do that.
 * @param repo directory of the repo in the cache
 * @param notices where its licences are that stand beside snapshots
 * @param isWhole a run of this repo has just ended well; if none has, only what nobody went on with for long goes
 */
export async function sweepRepo(
  repo: string,
  notices: string,
  isWhole: boolean,
  now: number = Date.now(),
): Promise<Freed> {
  const wanted = await new UnfinishedRuns(repo).wanted(now);
  const blobs = await namesIn(join(repo, 'blobs'));
  const whole = new Set(blobs);
  const isUnwanted = (name: string): boolean => {
    const [, hash, kind] = partialBlob.exec(name) ?? [];
    if (hash === undefined) return false;
    return !wanted.has(hash) || whole.has(hash) || kind === 'adopted' || kind === 'copy';
  };
  const places: [string, string[]][] = [
    [join(repo, 'blobs'), blobs.filter(isUnwanted)],
    // Everything else is small, and is made anew.
    ...(await Promise.all([repo, join(repo, 'trees'), notices].map(partialsIn))),
  ];
  const freed: Freed = { files: 0, bytes: 0 };
  for (const [folder, names] of places)
    for (const name of names) {
      const path = join(folder, name);
      const found = await lstat(path);
      if (!isWhole && now - found.mtimeMs <= abandonedMs) continue;
      await rm(path, { recursive: true, force: true });
      freed.files += 1;
      freed.bytes += bytesOf(name, found);
    }
  // Readers warn of a repo that has nothing to read.
  if ((await namesIn(repo)).every((name) => name === 'blobs'))
    for (const folder of [join(repo, 'blobs'), repo]) await rmdir(folder).catch(() => {});
  return freed;
}

/** One of ranges has holes. */
function bytesOf(name: string, { size, blocks }: Stats): number {
  return name.endsWith(`.ranges${partialSuffix}`) ? Math.min(size, 512 * blocks) : size;
}

async function partialsIn(folder: string): Promise<[string, string[]]> {
  return [folder, (await namesIn(folder)).filter((name) => name.endsWith(partialSuffix))];
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
