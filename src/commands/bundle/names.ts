import type { Reporter } from '../../core/events.ts';
import { MirrorError } from '../../core/errors.ts';
import { plural, printable } from '../../core/text.ts';
import { isNameEverywhere } from '../../hub/names.ts';
import type { StoreContents } from '../store/store.ts';

/** @throws E_USAGE for what cannot be the name of a bundle, which its directory and its volumes have on any medium */
export function checkName(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw new MirrorError('E_USAGE', `\`${name}\` cannot be the name of a bundle`, {
      hint: 'use letters, digits, `.`, `_` and `-`, at most 63',
    });
  if (!isNameEverywhere(name))
    throw new MirrorError('E_USAGE', `\`${name}\` cannot be the name of a bundle: Windows could not open it`, {
      hint: 'choose one that does not end with `.` and is not that of a device, such as `con` or `aux.1`',
    });
  return name;
}

/** Who unpacks the volumes on Windows would not get these; what reads them where they lie does. */
export function warnOfNames({ files, links }: StoreContents, report: Reporter): void {
  let count = 0;
  let first = '';
  for (const list of [files, links])
    for (const { path } of list)
      // Blobs are named after their digests, and make half of all paths.
      if (!path.includes('/blobs/') && !path.split('/').every(isNameEverywhere)) {
        count += 1;
        first ||= path;
      }
  if (count === 0) return;
  const what = count === 1 ? 'is no name' : 'are no names';
  const text = `${plural(count, 'path')}, such as \`${printable(first)}\`, ${what} on Windows: \`verify\`, \`import\` and \`serve\` read them where they lie, but nobody can unpack them there`;
  report({ type: 'warning', text });
}
