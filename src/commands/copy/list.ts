import { readFile } from 'node:fs/promises';
import { MirrorError, placeError } from '../../core/errors.ts';
import { plural, printable } from '../../core/text.ts';
import { defaultPlacement } from '../../manifest/placement.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { isDigestTag, parseReference } from '../../oci/reference.ts';
import { tagGlob } from '../../oci/tag-glob.ts';
import type { Context } from '../context.ts';
import { namesTag, type SourceEndpoint } from '../places/endpoint.ts';
import { listImages } from './image-list.ts';
import { hasPrefix, type OpenPlaces } from '../places/local-source.ts';
import type { TrustOptions } from '../records/sealed.ts';

/** What `copy` is told of sources and targets. */
export interface ListOptions {
  source?: string | undefined;
  target?: string | undefined;
  allTags?: boolean;
  /** Patterns of tags. */
  tags?: readonly string[];
  /** Path of a file with one image a line; `-` for what `input` gives. */
  fromFile?: string | undefined;
  /** What another program writes to this one. */
  input?: (() => Promise<Buffer>) | undefined;
}

/** An image that is to be copied. */
export interface Order {
  source: string;
  /** Where it goes, when its source has been opened. */
  target: (from: SourceEndpoint) => string;
}

/**
 * The images that the command line means, in their order.
 * @param opened gets what is opened to list them
 * @throws E_USAGE, naming the line of a list; E_NOT_FOUND when there is no such tag or file
 */
export async function readOrders(
  options: ListOptions & TrustOptions,
  context: Context,
  opened: OpenPlaces,
): Promise<Order[]> {
  const { source, target, allTags = false, tags = [], fromFile } = options;
  const ways = [fromFile !== undefined, allTags, tags.length > 0].filter(Boolean).length;
  if (ways > 1) throw wrongUse('`--from-file`, `--all-tags` and `--tags` exclude each other', 'choose one of them');
  if (fromFile !== undefined) {
    if (source !== undefined && target !== undefined)
      throw wrongUse('with `--from-file` the sources stand in the file', 'name the target alone');
    const input = fromFile === '-' ? options.input : undefined;
    const name = input ? 'standard input' : fromFile;
    // Who typed this into a terminal has to know for what it waits.
    if (input) context.report({ type: 'stage', text: 'reading the list from standard input' });
    return readList(await readText(name, input ?? (() => readFile(context.path(fromFile)))), name, target ?? source);
  }
  if (source === undefined || target === undefined)
    throw wrongUse('a source and a target are wanted', 'write `sie-mirror copy SOURCE TARGET`, or see `--help`');
  if (ways === 0) return [{ source, target: () => target }];
  return tagsOf({ source, target, patterns: tags }, options, context, opened);
}

/** @throws E_USAGE for what some editors and shells write in place of UTF-8 */
async function readText(file: string, read: () => Promise<Buffer>): Promise<string> {
  const bytes = await read().catch((error: unknown) => {
    throw placeError(error, { item: file });
  });
  if (!bytes.includes(0)) return bytes.toString('utf8');
  throw wrongUse(
    `\`${file}\` is no text in UTF-8`,
    'save it as UTF-8; in PowerShell `... | Out-File -Encoding utf8 LIST` does so, and `>` does not',
  );
}

/** One image a line: its reference, and where it goes if not by the rule; `#` begins a comment. */
function readList(text: string, file: string, prefix: string | undefined): Order[] {
  if (prefix !== undefined) checkPrefix(prefix);
  const orders = text.split(/\r?\n/).flatMap((line, index) => {
    const [source, to, ...more] = line
      .replace(/(?:^|\s)#.*$/, '')
      .split(/\s+/)
      .filter(Boolean);
    if (source === undefined) return [];
    try {
      if (more.length > 0) throw wrongUse('there are more than two columns', 'write `SOURCE` or `SOURCE TARGET`');
      if (!hasPrefix(source)) parseReference(source);
      if (to !== undefined) checkColumn(prefix, to);
      if (prefix === undefined && (to === undefined || !isPlace(to)))
        throw wrongUse(
          'the line names no target',
          'name one in the second column, or for all as `copy --from-file LIST TARGET`',
        );
    } catch (error) {
      throw inLine(error, file, index + 1);
    }
    return [{ source, target: (from: SourceEndpoint) => placeBelow(prefix ?? '', to, from) }];
  });
  if (orders.length === 0) throw wrongUse(`\`${file}\` names no image`, 'write one reference a line');
  return orders;
}

/** @throws E_USAGE for a second column that is no target */
function checkColumn(prefix: string | undefined, to: string): void {
  if (isPlace(to)) checkTarget(to);
  else if (prefix?.startsWith('oci:') === false) parseReference(`${prefix}/${to}`);
}

/** @throws E_USAGE for what cannot be written to, whatever is there */
export function checkTarget(target: string): void {
  if (!hasPrefix(target)) parseReference(target);
  else if (!target.startsWith('oci:')) throw wrongUse(`\`${target}\` can be read only`, 'copy to a layout: `oci:DIR`');
}

function placeBelow(prefix: string, to: string | undefined, from: SourceEndpoint): string {
  if (to !== undefined && isPlace(to)) return to;
  if (prefix.startsWith('oci:')) return to === undefined ? prefix : `${prefix}:${to}`;
  const { repository } = splitName(from.name);
  return `${prefix}/${to ?? defaultPlacement(repository === '' ? 'images' : repository)}`;
}

async function tagsOf(
  { source, target, patterns }: { source: string; target: string; patterns: readonly string[] },
  trust: TrustOptions,
  context: Context,
  opened: OpenPlaces,
): Promise<Order[]> {
  const registry = !target.startsWith('oci:');
  if (registry && (namesTag(target) || target.includes('@')))
    throw wrongUse(
      `the target \`${printable(target)}\` names one image`,
      'name its repository alone: each image keeps its tag',
    );
  if (registry) parseReference(target);
  else checkPrefix(target);
  // What cosign names after a digest travels with the image of that digest.
  const images = (await listImages(context, source, trust, opened)).filter(({ tag }) => !isDigestTag(tag));
  const globs = patterns.map(tagGlob);
  const chosen = images.filter(({ tag }) => globs.length === 0 || globs.some((fits) => fits(tag)));
  if (chosen.length === 0)
    throw nothingFits(
      source,
      patterns,
      images.map(({ tag }) => tag),
    );
  const repositories = [...new Set(chosen.map(({ repository }) => repository))];
  if (registry && repositories.length > 1)
    throw wrongUse(
      `\`${source}\` holds images of ${repositories.length} repositories, and the target is one`,
      `choose one: ${repositories
        .slice(0, 8)
        .map((each) => `\`${source}:${each}\``)
        .join(', ')}`,
    );
  return chosen.map(({ text, tag }) => ({ source: text, target: () => (registry ? `${target}:${tag}` : target) }));
}

function nothingFits(source: string, patterns: readonly string[], tags: readonly string[]): MirrorError {
  const some = tags.slice(0, 8).map((tag) => `\`${printable(tag)}\``);
  return new MirrorError(
    'E_NOT_FOUND',
    `\`${source}\` has no tag${patterns.length === 0 ? '' : ` that fits ${patterns.map((each) => `\`${each}\``).join(' or ')}`}`,
    {
      ...(some.length === 0
        ? {}
        : { hint: `it has ${plural(tags.length, 'tag')}: ${some.join(', ')}${tags.length > 8 ? ', ...' : ''}` }),
      at: { side: 'source', item: source },
    },
  );
}

/** @throws E_USAGE for a target below which nothing can be */
function checkPrefix(prefix: string): void {
  if (!prefix.startsWith('oci:')) {
    parseReference(`${prefix}/x`);
    return;
  }
  if (/:|@sha/.test(prefix.slice('oci:'.length)))
    throw wrongUse(`the target \`${prefix}\` names one image`, 'write it as `oci:DIR`: each image keeps its name');
}

/** Whether a target is one by itself, and not a path below another. */
function isPlace(text: string): boolean {
  const slash = text.indexOf('/');
  const first = slash < 0 ? '' : text.slice(0, slash);
  return hasPrefix(text) || /[.:]/.test(first) || first === 'localhost';
}

function wrongUse(message: string, hint: string): MirrorError {
  return new MirrorError('E_USAGE', message, { hint });
}

function inLine(error: unknown, file: string, line: number): unknown {
  if (!(error instanceof MirrorError)) return error;
  const { code, message, hint } = error;
  return new MirrorError(code, `\`${file}\`, line ${line}: ${message}`, hint === undefined ? {} : { hint });
}
