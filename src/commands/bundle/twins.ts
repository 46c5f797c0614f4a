import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { treeKey } from '../../bundle/records/path-tree.ts';
import { TextMap } from '../../bundle/lists/text-map.ts';
import { repoOfFolder } from '../../hub/snapshot/cache.ts';
import { patternOf } from '../../hub/selection/fnmatch.ts';
import type { StoreContents } from '../store/store.ts';

/**
 * Before anything is written: a bundle is unpacked anywhere, so that nothing in it may differ in upper and lower case, or in
 * how letters are composed, only.
 * @throws E_REFUSED
 */
export function refuseTwins(contents: StoreContents): void {
  const keys = new TextMap();
  let double: string | undefined;
  for (const path of pathsOf(contents)) if (keys.set(treeKey(path), 0)) double ??= treeKey(path);
  if (double === undefined) return;
  const [first = '', second = ''] = [...pathsOf(contents)].filter((path) => treeKey(path) === double);
  throw new MirrorError(
    'E_REFUSED',
    `\`${printable(first)}\` and \`${printable(second)}\` of the store are one file on some file systems: no bundle carries both`,
    { hint: leaveOut(second), at: { side: 'source', item: printable(second) } },
  );
}

function* pathsOf({ files, links }: StoreContents): Generator<string> {
  for (const { path } of files) yield path;
  for (const { path } of links) yield path;
}

function leaveOut(path: string): string {
  const place = /^(?:hub|files\/licences)\/((model|dataset|space)s--[^/]+)(?:\/snapshots)?\/[0-9a-f]{40}\/(.+)$/s;
  const [, folder = '', type = '', file] = place.exec(path) ?? [];
  if (file === undefined) return 'take one of them out of the store';
  const repo = repoOfFolder(folder) + (type === 'model' ? '' : ` --type ${type}`);
  return `leave one of them out, e.g. \`sie-mirror snapshot ${repo} --exclude '${patternOf(file)}'\``;
}
