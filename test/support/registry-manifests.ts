import { digestAlgorithm, digestMatches, digestOf } from './digest.ts';
import type { ImageDescriptor } from './images.ts';
import { MEDIA_TYPES } from './images.ts';
import type { Exchange } from './registry-exchange.ts';
import type { RegistryStore, StoredManifest, StoredRepository } from './registry-store.ts';

export interface ManifestOptions {
  /** Whether the referrers API is there, default true. */
  referrers?: boolean;
  /** True or 400: a PUT to a tag that exists is refused as ECR does; a number: with this status. Same bytes or not. */
  immutableTags?: boolean | number;
  /** GitLab's trap: the tag `sha256-<hex>` gives the manifest with that very digest. */
  digestTagIsSubject?: boolean;
  /** Whether an index may name children that are not there. */
  sparse?: boolean;
  /** The status for manifests of more than 4 MiB: 413 as specified (default), or 400 as distribution does. */
  manifestTooLarge?: 400 | 413;
  /** The most tags or referrers in one answer, whatever the client asks for. */
  pageSize?: number;
  /** The status of a HEAD for what is not there, default 404. */
  absentHeadStatus?: 403 | 404;
  /** HEAD says neither digest nor media type. */
  bareHead?: boolean;
  /** Manifests are written anew as the registry likes them, which changes their digest. */
  normalises?: boolean;
  /** Takes images only: manifests with an artifact type are invalid to it. */
  refusesArtifacts?: boolean;
  /** Manifests may name blobs that are not there. */
  missingBlobs?: boolean;
  /** Manifests come whatever the client accepts. */
  anyAccept?: boolean;
  /** A repository that is not there has an empty list of tags. */
  emptyTags?: boolean;
  /** Manifests are taken by their sha256 alone, as by distribution. */
  sha256Only?: boolean;
  /** How many times a manifest is refused before its blobs come into sight, as when there are several replicas. */
  seesBlobsAfter?: number;
}

/** The fields of manifests and indexes that a registry looks at. */
interface ManifestDocument {
  schemaVersion?: unknown;
  mediaType?: unknown;
  artifactType?: string;
  config?: ImageDescriptor;
  layers?: ImageDescriptor[];
  manifests?: ImageDescriptor[];
  subject?: ImageDescriptor;
  annotations?: Record<string, string>;
}

const MAX_MANIFEST = 4 * 1024 * 1024;
const INDEX_TYPES = new Set<string>([MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList]);
const IMAGE_TYPES = new Set<string>([MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest]);
const DOCKER_TYPES = new Set<string>([MEDIA_TYPES.dockerManifest, MEDIA_TYPES.dockerList]);

/** Manifests, tags and referrers of a registry. */
export class Manifests {
  readonly #store: RegistryStore;
  readonly #options: ManifestOptions;
  readonly #refused = new Map<string, number>();

  constructor(store: RegistryStore, options: ManifestOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** `/v2/<name>/manifests/<reference>`; false for a method that it does not know. */
  async serve(exchange: Exchange, name: string, reference: string): Promise<boolean> {
    if (exchange.reads) return this.#get(exchange, name, reference);
    if (exchange.method === 'PUT') return this.#put(exchange, name, reference);
    if (exchange.method === 'DELETE') return this.#delete(exchange, name, reference);
    return false;
  }

  /** `GET /v2/<name>/tags/list` */
  listTags(exchange: Exchange, name: string): true {
    const repository = this.#store.find(name);
    if (!repository || repository.manifests.size === 0) {
      const detail = { name };
      if (this.#options.emptyTags === true) return exchange.json(200, { name, tags: [] });
      return exchange.refuse(404, { code: 'NAME_UNKNOWN', message: 'repository name not known to registry', detail });
    }
    const { searchParams } = exchange.url;
    const n = searchParams.get('n');
    if (n !== null && !/^\d+$/.test(n)) {
      return exchange.refuse(400, {
        code: 'PAGINATION_NUMBER_INVALID',
        message: 'invalid number of results requested',
      });
    }
    const last = searchParams.get('last') ?? '';
    const rest = [...repository.tags.keys()].filter((tag) => tag > last).toSorted();
    const size = Math.min(n === null ? Infinity : Number(n), this.#options.pageSize ?? Infinity);
    const tags = rest.slice(0, size);
    const end = tags.at(-1);
    const hasMore = end !== undefined && tags.length < rest.length;
    const link = `</v2/${name}/tags/list?last=${encodeURIComponent(end ?? '')}&n=${size}>; rel="next"`;
    return exchange.json(200, { name, tags }, hasMore ? { link } : {});
  }

  /** `GET /v2/<name>/referrers/<digest>` */
  listReferrers(exchange: Exchange, name: string, digest: string): true {
    // Not one of the registry's own errors: distribution has no such route.
    if (this.#options.referrers === false) return exchange.send(404, 'text/plain', '404 page not found\n');
    if (digestAlgorithm(digest) === undefined) {
      return exchange.refuse(400, { code: 'DIGEST_INVALID', message: 'digest parsing failed', detail: digest });
    }
    const type = exchange.url.searchParams.get('artifactType');
    const all = referrersOf(this.#store.find(name), digest).filter((item) => !type || item.artifactType === type);
    const from = Number(exchange.url.searchParams.get('next') ?? 0);
    const to = from + (this.#options.pageSize ?? Infinity);
    const filter = type ? `&artifactType=${encodeURIComponent(type)}` : '';
    const link = `</v2/${name}/referrers/${digest}?next=${to}${filter}>; rel="next"`;
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: all.slice(from, to) };
    return exchange.send(200, MEDIA_TYPES.ociIndex, JSON.stringify(index), {
      ...(type && { 'oci-filters-applied': 'artifactType' }),
      ...(to < all.length && { link }),
    });
  }

  #get(exchange: Exchange, name: string, reference: string): true {
    const repository = this.#store.find(name);
    const digest = repository?.resolve(this.#followTrap(repository, reference));
    const manifest = digest === undefined ? undefined : repository?.manifests.get(digest);
    if (!manifest || digest === undefined) {
      const status = exchange.method === 'HEAD' ? this.#options.absentHeadStatus : 404;
      return unknownManifest(exchange, `unknown manifest ${name} ${reference}`, status);
    }
    if (this.#options.bareHead === true && exchange.method === 'HEAD') return exchange.empty(200);
    if (this.#options.anyAccept !== true && !accepts(exchange, manifest.mediaType)) {
      return unknownManifest(exchange, `${manifest.mediaType} found, but accept header does not support it`);
    }
    return exchange.send(200, manifest.mediaType, manifest.bytes, {
      'docker-content-digest': digest,
      etag: `"${digest}"`,
    });
  }

  #followTrap(repository: StoredRepository, reference: string): string {
    if (this.#options.digestTagIsSubject !== true || !/^sha256-[0-9a-f]{64}$/.test(reference)) return reference;
    const digest = reference.replace('-', ':');
    return repository.manifests.has(digest) ? digest : reference;
  }

  async #put(exchange: Exchange, name: string, reference: string): Promise<true> {
    const bytes = await exchange.bytes();
    const isTag = !reference.includes(':');
    if (isTag && !/^\w[\w.-]{0,127}$/.test(reference)) {
      return exchange.refuse(400, { code: 'TAG_INVALID', message: 'manifest tag did not match the grammar' });
    }
    if (bytes.length > MAX_MANIFEST) {
      const status = this.#options.manifestTooLarge ?? 413;
      return exchange.refuse(status, { code: 'MANIFEST_INVALID', message: 'manifest larger than 4194304 bytes' });
    }
    const isUnknown = this.#options.sha256Only === true && digestAlgorithm(reference) === 'sha512';
    if (!isTag && (isUnknown || !digestMatches(bytes, reference))) {
      const message = 'provided digest did not match uploaded content';
      return exchange.refuse(400, { code: 'DIGEST_INVALID', message, detail: reference });
    }
    const refused = isTag ? this.#refuseImmutable(exchange, name, reference) : undefined;
    return refused ?? this.#accept(exchange, { name, reference }, bytes);
  }

  #accept(exchange: Exchange, at: { name: string; reference: string }, bytes: Buffer): true {
    const mediaType = (exchange.header('content-type') ?? '').split(';')[0]?.trim() ?? '';
    const document = parse(bytes);
    const isUnknown = this.#options.refusesArtifacts === true && document?.artifactType !== undefined;
    const fault = isUnknown ? 'unknown artifact' : document ? shapeFault(document, mediaType) : 'not a JSON object';
    if (!document || fault !== undefined) {
      return exchange.refuse(400, { code: 'MANIFEST_INVALID', message: 'manifest invalid', detail: fault });
    }
    const missing = this.#isInSight(at) ? this.#missing(at.name, document) : blobsOf(document);
    if (missing.length > 0) {
      const message = 'manifest references a manifest or blob unknown to registry';
      return exchange.refuse(
        400,
        missing.map((digest) => ({ code: 'MANIFEST_BLOB_UNKNOWN', message, detail: { digest } })),
      );
    }
    const kept = this.#options.normalises === true ? Buffer.from(JSON.stringify(document, null, 1)) : bytes;
    const reference = kept === bytes ? at.reference : digestOf(kept);
    const digest = this.#store.open(at.name).putManifest(reference, { mediaType, bytes: kept });
    const { subject } = document;
    return exchange.empty(201, {
      location: `/v2/${at.name}/manifests/${digest}`,
      'docker-content-digest': digest,
      ...(subject && this.#options.referrers !== false && { 'oci-subject': subject.digest }),
    });
  }

  /** Every manifest has its own replicas that are late. */
  #isInSight({ name, reference }: { name: string; reference: string }): boolean {
    const times = this.#refused.get(`${name} ${reference}`) ?? 0;
    if (!reference.includes(':') || times >= (this.#options.seesBlobsAfter ?? 0)) return true;
    this.#refused.set(`${name} ${reference}`, times + 1);
    return false;
  }

  #missing(name: string, document: ManifestDocument): string[] {
    const { sparse = false, missingBlobs = false } = this.#options;
    const repository = this.#store.find(name);
    const children = sparse ? [] : (document.manifests ?? []);
    const blobs = missingBlobs
      ? []
      : [document.config, ...(document.layers ?? [])].filter((blob) => blob !== undefined);
    const lackBlob = (item: ImageDescriptor): boolean => repository?.blobs.has(item.digest) !== true;
    const lackManifest = (item: ImageDescriptor): boolean => repository?.manifests.has(item.digest) !== true;
    return [
      // An index may name a blob of a type that the registry does not know.
      ...children.filter((item) => lackManifest(item) && lackBlob(item)),
      ...blobs.filter((item) => !isForeign(item) && lackBlob(item)),
    ].map((item) => item.digest);
  }

  #refuseImmutable(exchange: Exchange, name: string, tag: string): true | undefined {
    const { immutableTags = false } = this.#options;
    if (immutableTags === false || this.#store.find(name)?.tags.has(tag) !== true) return undefined;
    const status = immutableTags === true ? 400 : immutableTags;
    const codes = { 400: 'TAG_INVALID', 403: 'DENIED', 409: 'CONFLICT', 412: 'PRECONDITION' } as const;
    const message = `The image tag '${tag}' already exists in the '${name}' repository and cannot be overwritten because the tag is immutable.`;
    return exchange.refuse(status, { code: codes[status as keyof typeof codes] ?? 'UNKNOWN', message });
  }

  #delete(exchange: Exchange, name: string, reference: string): true {
    if (this.#store.find(name)?.deleteManifest(reference) === true) return exchange.empty(202);
    return unknownManifest(exchange, `unknown manifest ${name} ${reference}`);
  }
}

function blobsOf(document: ManifestDocument): string[] {
  return [document.config, ...(document.layers ?? [])].filter((blob) => blob !== undefined).map(({ digest }) => digest);
}

function unknownManifest(exchange: Exchange, detail: string, status = 404): true {
  return exchange.refuse(status, { code: 'MANIFEST_UNKNOWN', message: 'manifest unknown', detail });
}

/** A wildcard does not count, as in distribution. */
function accepts(exchange: Exchange, mediaType: string): boolean {
  const types = (exchange.header('accept') ?? '').split(',').map((item) => item.split(';')[0]?.trim());
  return types.includes(mediaType);
}

function parse(bytes: Uint8Array): ManifestDocument | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function shapeFault(document: ManifestDocument, mediaType: string): string | undefined {
  if (document.schemaVersion !== 2) return 'unrecognized manifest schema version';
  const isBare = document.mediaType === undefined && !DOCKER_TYPES.has(mediaType);
  if (!isBare && document.mediaType !== mediaType) return `mediaType is not the Content-Type ${mediaType}`;
  const isIndex = Array.isArray(document.manifests) && !document.config && !document.layers;
  const isImage = Array.isArray(document.layers) && document.config !== undefined && !document.manifests;
  if (INDEX_TYPES.has(mediaType)) return isIndex ? undefined : 'not an index';
  if (IMAGE_TYPES.has(mediaType)) return isImage ? undefined : 'not an image manifest';
  return `unsupported media type ${mediaType}`;
}

function isForeign(item: ImageDescriptor): boolean {
  return /\.(?:foreign|nondistributable)\./.test(item.mediaType);
}

function referrersOf(repository: StoredRepository | undefined, subject: string): ImageDescriptor[] {
  return [...(repository?.manifests ?? [])]
    .filter(([, manifest]) => parse(manifest.bytes)?.subject?.digest === subject)
    .map(([digest, manifest]) => referrer(digest, manifest));
}

function referrer(digest: string, { mediaType, bytes }: StoredManifest): ImageDescriptor {
  const { artifactType, config, annotations } = parse(bytes) ?? {};
  const type = artifactType ?? config?.mediaType;
  return {
    mediaType,
    digest,
    size: bytes.length,
    ...(type !== undefined && { artifactType: type }),
    ...(annotations && { annotations }),
  };
}
