import { type Digest, isDigest } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { OciLayout } from './layout.ts';
import { bare, findNamed, type LayoutEntry, namesOf, splitName } from './index-file.ts';
import { digestTag, formatReference, parseReference } from '../reference.ts';

/** An image of a layout: what to ask which view of the layout for. */
export interface LayoutChoice {
  /** What the image is called. */
  name: string;
  repository: string;
  /** Tag or digest. */
  reference: string;
}

/**
 * Finds the image that a user means: by a name, which may be written shorter than it stands there (`nginx` for
 * `docker.io/library/nginx:latest`), by a digest, by name and digest, by its place (`@0` is the first), or, with no choice
 * given, the only one.
 * @param shown the place as the user wrote it, for messages: choices are appended to it
 * @throws E_USAGE when it is not clear which is meant, E_NOT_FOUND, E_DIGEST_MISMATCH when name and digest disagree
 */
export async function chooseImage(layout: OciLayout, choice: string | undefined, shown: string): Promise<LayoutChoice> {
  const entries = (await layout.index()).manifests.filter((entry) => !isBelonging(entry));
  if (choice === undefined) return chosen(await onlyEntry(layout, entries, shown));
  const place = /^@(\d+)$/.exec(choice)?.[1];
  if (place !== undefined) return chosen(atPlace(entries, Number(place), shown));
  if (isDigest(choice)) return byDigest(entries, choice);
  const exact = findNamed(entries, choice);
  if (exact && choice.includes('@')) return chosen(exact);
  const [named = choice, digest] = choice.split('@');
  return chosen(digest === undefined ? byName(entries, choice, shown) : byBoth(entries, named, digest, shown));
}

/** Signatures and lists of referrers come along with the image that they are named after; nobody means them alone. */
function isBelonging(entry: LayoutEntry): boolean {
  const names = namesOf(entry);
  return names.length > 0 && names.every((name) => digestTag(splitName(name).reference) !== undefined);
}

function chosen(entry: LayoutEntry): LayoutChoice {
  const [name] = namesOf(entry);
  if (name === undefined) return { name: entry.digest, repository: '', reference: entry.digest };
  const { repository, reference } = splitName(name);
  // Layouts take any text for a name; a registry takes none that is no tag.
  const isTag = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(reference);
  return { name, repository, reference: isTag || isDigest(reference) ? reference : entry.digest };
}

/** @returns the repository whose signatures may belong to the digest: that of its names, or the only one there is */
function byDigest(entries: readonly LayoutEntry[], digest: Digest): LayoutChoice {
  const listed = entries.filter((entry) => entry.digest === digest && namesOf(entry).length > 0);
  const repositories = new Set(
    (listed.length > 0 ? listed : entries).flatMap(namesOf).map((name) => splitName(name).repository),
  );
  const [first = ''] = repositories;
  const repository = repositories.size === 1 || listed.length > 0 ? first : '';
  return { name: repository === '' ? digest : `${repository}@${digest}`, repository, reference: digest };
}

async function onlyEntry(layout: OciLayout, entries: readonly LayoutEntry[], shown: string): Promise<LayoutEntry> {
  const named = firstOfEach(entries.filter((entry) => namesOf(entry).length > 0));
  const candidates = named.length > 0 ? named : await withoutReferrers(layout, firstOfEach(entries));
  const [only] = candidates;
  if (only && candidates.length === 1) return only;
  if (!only)
    throw new MirrorError('E_NOT_FOUND', `\`${shown}\` holds no image`, { at: { side: 'source', item: shown } });
  throw new MirrorError('E_USAGE', `\`${shown}\` holds ${candidates.length} images`, {
    hint: `choose one: ${listOf(entries, shown)}`,
    at: { side: 'source', item: shown },
  });
}

/** One entry of each image: one that has several names is still one. */
function firstOfEach(entries: readonly LayoutEntry[]): LayoutEntry[] {
  return [...new Map(entries.toReversed().map((entry) => [entry.digest, entry])).values()].toReversed();
}

async function withoutReferrers(layout: OciLayout, entries: readonly LayoutEntry[]): Promise<readonly LayoutEntry[]> {
  if (entries.length < 2) return entries;
  const subjects = await Promise.all(entries.map(async (entry) => (await layout.document(bare(entry))).subject));
  return entries.filter((_, index) => subjects[index] === undefined);
}

function atPlace(entries: readonly LayoutEntry[], place: number, shown: string): LayoutEntry {
  const images = firstOfEach(entries);
  const found = images[place];
  if (found) return found;
  throw new MirrorError('E_NOT_FOUND', `\`${shown}\` has no image \`@${place}\`: it holds ${images.length}`, {
    hint: 'the first one is `@0`',
    at: { side: 'source', item: shown },
  });
}

function byName(entries: readonly LayoutEntry[], name: string, shown: string): LayoutEntry {
  const found = firstOfEach(lookUp(entries, name));
  const [only] = found;
  if (only && found.length === 1) return only;
  if (only)
    throw new MirrorError('E_USAGE', `\`${printable(name)}\` names ${found.length} images in \`${shown}\``, {
      hint: `choose one: ${listOf(found, shown)}`,
      at: { side: 'source', item: shown },
    });
  throw notThere(entries, name, shown);
}

function byBoth(entries: readonly LayoutEntry[], name: string, digest: string, shown: string): LayoutEntry {
  if (!isDigest(digest))
    throw new MirrorError('E_USAGE', `\`${printable(digest)}\` is not \`sha256:\` with 64 lower-case hex digits`);
  // A copy by tag and digest enters the repository and the digest.
  const found = [...lookUp(entries, name), ...lookUp(entries, `${splitName(name).repository || name}@${digest}`)];
  const [first] = found;
  if (!first) throw notThere(entries, `${name}@${digest}`, shown);
  const agreeing = found.find((entry) => entry.digest === digest);
  if (agreeing) return agreeing;
  throw new MirrorError(
    'E_DIGEST_MISMATCH',
    `\`${printable(name)}\` in \`${shown}\` has digest \`${first.digest}\`, wanted \`${digest}\``,
    {
      hint: `name one of the two: \`${shown}:${printable(name)}\` or \`${shown}@${digest}\``,
      at: { side: 'source', item: name },
    },
  );
}

/** Entries of that very name; where there are none, those whose names mean the same to docker. */
function lookUp(entries: readonly LayoutEntry[], name: string): LayoutEntry[] {
  const exact = entries.filter((entry) => namesOf(entry).includes(name));
  if (exact.length > 0) return exact;
  const whole = wholeName(name);
  return whole === undefined ? [] : entries.filter((entry) => namesOf(entry).some((each) => wholeName(each) === whole));
}

function wholeName(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch {
    return undefined;
  }
}

function notThere(entries: readonly LayoutEntry[], name: string, shown: string): MirrorError {
  return new MirrorError('E_NOT_FOUND', `\`${printable(name)}\` is not in \`${shown}\``, {
    hint: entries.length === 0 ? 'it holds no image' : `choose one: ${listOf(entries, shown)}`,
    at: { side: 'source', item: printable(name) },
  });
}

function listOf(entries: readonly LayoutEntry[], shown: string): string {
  // Beside images that have names those without are mostly what refers to them.
  const named = entries.filter((entry) => namesOf(entry).length > 0);
  const names = (named.length > 0 ? named : entries).map((entry) => {
    const [name] = namesOf(entry);
    return name === undefined ? `\`${shown}@${entry.digest}\`` : `\`${shown}:${printable(name)}\``;
  });
  return `${names.slice(0, 10).join(', ')}${names.length > 10 ? ', ...' : ''}`;
}
