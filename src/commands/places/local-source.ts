import { stat } from 'node:fs/promises';
import { MirrorError } from '../../core/errors.ts';
import type { FileTree } from '../../core/ports.ts';
import { printable } from '../../core/text.ts';
import { directoryTree } from '../../fs/tree.ts';
import { OciLayout } from '../../oci/layout/layout.ts';
import type { Context } from '../context.ts';
import { isImageDirectory, otherPrefixes, refuseOtherPrefix } from './other-prefixes.ts';
import type { TrustOptions } from '../records/sealed.ts';

/** Where images lie in files, by the prefix that a user writes. What only one of them needs is loaded for it alone. */
const kinds = {
  oci: { wants: 'DIR', open: openDirectory },
  'oci-archive': { wants: 'FILE', open: openArchive },
  'docker-archive': { wants: 'FILE', open: openArchive },
  bundle: { wants: 'DIR', open: openBundled },
} satisfies Record<string, { wants: string; open: (place: LocalPlace, options: LocalOptions) => Promise<FileTree> }>;

type Kind = keyof typeof kinds;

export interface LocalOptions {
  context: Context;
  /** Whom to trust as the maker of a bundle. */
  trust: TrustOptions;
  /** What the command has open already, and what is opened now. */
  opened?: OpenPlaces | undefined;
}

/** Each place is opened once, however many images are taken out of it. */
export type OpenPlaces = Map<string, Promise<OciLayout>>;

/** Whether a text is written as a place in the file system, and no reference. */
export function hasPrefix(text: string): boolean {
  return Object.keys(kinds).some((kind) => text.startsWith(`${kind}:`));
}

/** A place in the file system, as the user wrote it. */
export interface LocalPlace {
  kind: Kind;
  path: string;
  /** Which of the images there: a name, a digest, name and digest, or `@0`; undefined when nothing was said. */
  choice: string | undefined;
}

/**
 * Reads `oci:DIR`, `docker-archive:FILE` and the like, each with `:NAME`, `@DIGEST`, `:NAME@DIGEST` or `@INDEX` after
 * it. A path that is there wins over one that is cut at an earlier colon.
 * @returns undefined for what has no such prefix
 * @throws E_USAGE
 */
export async function localPlace(text: string, context: Context): Promise<LocalPlace | undefined> {
  const kind = (Object.keys(kinds) as Kind[]).find((each) => text.startsWith(`${each}:`));
  if (kind === undefined) {
    if (/^\.{0,2}\//.test(text)) throw unsaid(text);
    refuseOtherPrefix(text);
    return undefined;
  }
  if (/^oci:\/\/[^/]/.test(text) && !(await isThere(context.path(text.slice('oci:'.length))))) throw noAddress(text);
  const rest = text.slice(kind.length + 1);
  const cuts = [...rest.matchAll(/[:@]/g)].map(({ index }) => index);
  const ends = [rest.length, ...cuts.toReversed()].filter((end) => end > 0);
  let end = cuts[0] ?? rest.length;
  for (const candidate of ends)
    if (await isThere(context.path(rest.slice(0, candidate)))) {
      end = candidate;
      break;
    }
  const path = rest.slice(0, end);
  const after = rest
    .slice(end)
    .replace(/^:/, '')
    .replace(/^@(?!\d+$)/, '');
  if (path === '' || (after === '' && end < rest.length)) {
    const { wants } = kinds[kind];
    throw new MirrorError('E_USAGE', `\`${text}\` names no place`, {
      hint: `write it as \`${kind}:${wants}\` or \`${kind}:${wants}:NAME\``,
    });
  }
  return { kind, path, choice: after === '' ? undefined : after };
}

/** Charts are named so. */
function noAddress(text: string): MirrorError {
  return new MirrorError('E_USAGE', `\`${printable(text)}\` is an address, and no place in the file system`, {
    hint: `for a registry write \`${printable(text.slice('oci://'.length))}\`, for an image layout \`oci:DIR\``,
  });
}

/** No reference begins as a path does. */
function unsaid(path: string): MirrorError {
  return new MirrorError('E_USAGE', `\`${printable(path)}\` is a path, and nothing says what lies there`, {
    hint: 'write `oci:DIR` for an image layout, `docker-archive:FILE` or `oci-archive:FILE` for an archive, `bundle:DIR` for a bundle',
  });
}

/** @throws E_NOT_FOUND, E_CORRUPT, E_USAGE, and for a bundle what `import` throws before it writes */
export async function openLocal(place: LocalPlace, options: LocalOptions): Promise<OciLayout> {
  const { opened } = options;
  const key = `${place.kind}:${place.path}`;
  const layout = opened?.get(key) ?? openPlace(place, options);
  opened?.set(key, layout);
  return layout;
}

async function openPlace(place: LocalPlace, options: LocalOptions): Promise<OciLayout> {
  return new OciLayout(await kinds[place.kind].open(place, options), place.path);
}

async function openDirectory({ path }: LocalPlace, { context }: LocalOptions): Promise<FileTree> {
  const found = await stat(context.path(path)).catch(() => undefined);
  const at = { side: 'source', item: path } as const;
  if (!found) throw new MirrorError('E_NOT_FOUND', `there is no directory \`${path}\``, { hint: 'check the path', at });
  if (found.isFile())
    throw new MirrorError('E_USAGE', `\`${path}\` is a file, a directory was wanted`, {
      hint: `for a tar archive write \`docker-archive:${path}\``,
      at,
    });
  const tree = directoryTree(context.path(path));
  if (await isImageDirectory(tree))
    throw new MirrorError(
      'E_USAGE',
      `\`${path}\` is no OCI image layout, but a directory of \`dir:\` or \`docker-dir\``,
      {
        hint: otherPrefixes.dir,
        at,
      },
    );
  return tree;
}

async function openArchive({ path }: LocalPlace, { context }: LocalOptions): Promise<FileTree> {
  const found = await stat(context.path(path)).catch(() => undefined);
  const at = { side: 'source', item: path } as const;
  if (!found) throw new MirrorError('E_NOT_FOUND', `there is no file \`${path}\``, { hint: 'check the path', at });
  if (found.isDirectory())
    throw new MirrorError('E_USAGE', `\`${path}\` is a directory, a file was wanted`, {
      hint: `for an image layout write \`oci:${path}\``,
      at,
    });
  const { archiveTree } = await import('../../oci/layout/docker-archive.ts');
  const { tarTree } = await import('../../fs/tar-tree.ts');
  return archiveTree(await tarTree(context.path(path), path), path, context.signal);
}

async function openBundled({ path }: LocalPlace, { context, trust }: LocalOptions): Promise<FileTree> {
  const { openWhole } = await import('../records/sealed.ts');
  const { BundleReader } = await import('../../bundle/reader.ts');
  const { bundle, inventory } = await openWhole(path, trust, context);
  return new BundleReader(bundle, inventory).tree('oci');
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
