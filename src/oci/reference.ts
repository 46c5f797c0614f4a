import { type Digest, digestHex, isDigest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';

/** `registry/repository:tag@digest`: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
export interface Reference {
  /** Host with optional port, as users write it: `docker.io`, not the host that Docker Hub answers on. */
  registry: string;
  repository: string;
  tag?: string;
  digest?: Digest;
}

export const dockerHub = 'docker.io';

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const hostPattern = /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?$/;

const howToWrite = 'write it as `registry/repository:tag` or `registry/repository@sha256:...`';

/**
 * Reads a reference as docker does: no registry means Docker Hub, no namespace there means `library`, neither tag nor
 * digest means `latest`.
 * @throws E_USAGE, naming the part that is wrong
 */
export function parseReference(text: string): Reference {
  const wrong = (part: string, found: string, wanted: string, hint = howToWrite): MirrorError =>
    new MirrorError(
      'E_USAGE',
      `\`${printable(text)}\` is not an image reference: the ${part} \`${printable(found)}\` ${wanted}`,
      { hint },
    );
  const scheme = /^\w+:\/\//.exec(text)?.[0];
  if (scheme !== undefined)
    throw wrong('reference', scheme, 'is of an address, and no part of it', `leave out \`${scheme}\`: ${howToWrite}`);
  const [named = '', digest, ...more] = text.split('@');
  // Without the text: a password stands in it.
  if (named.includes(':') && /^[^:]*[./]/.test(digest ?? ''))
    throw new MirrorError('E_USAGE', 'an image reference takes neither user nor password', {
      hint: `log in with \`docker login ${printable(digest?.split('/')[0] ?? '')}\` and leave them out`,
    });
  if (more.length > 0) throw wrong('reference', text, 'has more than one `@`');
  if (digest !== undefined && !isDigest(digest))
    throw wrong('digest', digest, 'is not `sha256:` with 64 lower-case hex digits');
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const path = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagPattern.test(tag))
    throw wrong('tag', tag, 'may have letters, digits, `.`, `_` and `-`, at most 128');
  if (isHost(path, tag)) throw wrong('reference', named, 'is a registry and names no repository');
  const { registry, repository } = splitPath(path);
  if (!isHostName(registry)) throw wrong('registry', registry, 'is not a host name with an optional port');
  if (!repositoryPattern.test(repository))
    throw wrong(
      'repository',
      repository,
      'may have lower-case letters and digits, `.`, `_`, `-` between them, and `/`',
    );
  const reference: Reference = { registry, repository };
  if (digest !== undefined) reference.digest = digest;
  if (tag !== undefined) reference.tag = tag;
  else if (digest === undefined) reference.tag = 'latest';
  return reference;
}

/** A port above 65535, or an address like `1.2.3.999`, has the form and still names no host. */
function isHostName(text: string): boolean {
  return hostPattern.test(text) && URL.canParse(`https://${text}`);
}

/** Whether a registry can have a tag of this name. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** `localhost:5000` could be an image of Docker Hub with the tag `5000`; nobody means that. */
function isHost(path: string, tag: string | undefined): boolean {
  if (path.includes('/') || tag === undefined || !/^\d{2,5}$/.test(tag)) return false;
  return path === 'localhost' || /^\d+(?:\.\d+){3}$/.test(path) || (path.includes('.') && tag.length > 2);
}

function splitPath(path: string): { registry: string; repository: string } {
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  if (/[.:]/.test(first) || first === 'localhost') {
    const registry = /^(?:(?:index|registry-1)\.)?docker\.io$/i.test(first) ? dockerHub : first;
    const repository = path.slice(slash + 1);
    return {
      registry,
      repository: registry === dockerHub && !repository.includes('/') ? `library/${repository}` : repository,
    };
  }
  return { registry: dockerHub, repository: slash < 0 ? `library/${path}` : path };
}

export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** What to ask a source for: the digest where there is one. */
export function wantedOf(reference: Reference): string {
  return reference.digest ?? reference.tag ?? 'latest';
}

/** The tag scheme by which cosign names what belongs to a digest; undefined for other tags. */
export function digestTag(tag: string): { subject: Digest; kind: 'index' | 'sig' | 'att' | 'sbom' } | undefined {
  const match = /^(sha256|sha512)-([0-9a-f]+)(?:\.(sig|att|sbom))?$/.exec(tag);
  const subject = `${match?.[1]}:${match?.[2]}`;
  if (!match || !isDigest(subject)) return undefined;
  return { subject, kind: (match[3] as 'sig' | 'att' | 'sbom' | undefined) ?? 'index' };
}

/** The digest is cut to what fits into a tag: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema */
export function fallbackTag(subject: Digest): string {
  return `${subject.slice(0, subject.indexOf(':'))}-${digestHex(subject).slice(0, 64)}`;
}

/** Whether a tag names what belongs to a digest, which travels with that digest and is no image of its own. */
export function isDigestTag(tag: string): boolean {
  return digestTag(tag) !== undefined || /^sha512-[0-9a-f]{64}$/.test(tag);
}
