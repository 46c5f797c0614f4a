import type { BuiltImage } from './images.ts';
import { accessFor, RegistryAuth, type RegistryAuthOptions } from './registry-auth.ts';
import { BlobCdn, serveBlob, type BlobOptions } from './registry-blobs.ts';
import { Exchange } from './registry-exchange.ts';
import { Manifests, type ManifestOptions } from './registry-manifests.ts';
import { RegistryStore, type StoredManifest } from './registry-store.ts';
import { Uploads, type UploadOptions } from './registry-uploads.ts';
import { TestServer, type ServerOptions } from './server.ts';

/** Behaviours of the registry; the default is an open registry that has everything of distribution-spec 1.1. */
export interface RegistryOptions extends ServerOptions, ManifestOptions, UploadOptions, BlobOptions {
  auth?: RegistryAuthOptions;
  /** Blobs come from a second server by signed URLs: see `cdn`. */
  redirectBlobs?: boolean;
  /** Every write is answered with 405, or with the status given. */
  readOnly?: boolean | 403;
  /** Only what was made by `create` can be pushed to, as in ECR. */
  createFirst?: boolean;
  /** A 401 says what it wants at the root only. */
  silentChallenge?: boolean;
  /** Who may do what is decided when the body is through: a proxy before the registry buffers it. */
  bufferingAuth?: boolean;
}

interface Route {
  kind: 'uploads' | 'upload' | 'blob' | 'manifest' | 'tags' | 'referrers';
  repository: string;
  /** Digest, tag or upload id. */
  item: string;
}

const ROUTES: [Route['kind'], RegExp][] = [
  ['uploads', /^\/v2\/(.+)\/blobs\/uploads\/$/],
  ['upload', /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/],
  ['blob', /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ['manifest', /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ['tags', /^\/v2\/(.+)\/tags\/list$/],
  ['referrers', /^\/v2\/(.+)\/referrers\/([^/]+)$/],
];
const COMPONENT = '[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);

/** Starts a strict registry in this process; an unknown request makes `close` throw. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const cdn = options.redirectBlobs === true ? await BlobCdn.start(options) : undefined;
  return TestRegistry.start(options, cdn);
}

/** A running registry: tests seed it, damage it and look into it. */
export class TestRegistry {
  readonly #options: RegistryOptions;
  readonly #store = new RegistryStore();
  readonly #auth: RegistryAuth;
  readonly #manifests: Manifests;
  readonly #uploads: Uploads;
  readonly #cdn: BlobCdn | undefined;
  #server: TestServer | undefined;

  private constructor(options: RegistryOptions, cdn: BlobCdn | undefined) {
    this.#options = options;
    this.#auth = new RegistryAuth(options.auth, options.silentChallenge);
    this.#manifests = new Manifests(this.#store, options);
    this.#uploads = new Uploads(this.#store, options);
    this.#cdn = cdn;
  }

  /** For {@link startRegistry}. */
  static async start(options: RegistryOptions, cdn: BlobCdn | undefined): Promise<TestRegistry> {
    const registry = new TestRegistry(options, cdn);
    registry.#server = await TestServer.start(
      (request, response, url) => registry.#serve(new Exchange(request, response, url)),
      options,
    );
    return registry;
  }

  get server(): TestServer {
    if (!this.#server) throw new Error('the server has not been started');
    return this.#server;
  }

  /** The server that blobs are redirected to; only with `redirectBlobs`. */
  get cdn(): TestServer {
    if (!this.#cdn) throw new Error('this registry was started without `redirectBlobs`');
    return this.#cdn.server;
  }

  get host(): string {
    return this.server.host;
  }

  get url(): string {
    return this.server.url;
  }

  /** Uploads that were begun and neither completed nor cancelled. */
  get openUploads(): number {
    return this.#uploads.open;
  }

  /** Puts an image with everything below it into a repository, past every check and switch. */
  put(repository: string, image: BuiltImage, tag?: string): void {
    const target = this.#store.open(repository);
    for (const [digest, bytes] of image.blobs) target.blobs.set(digest, bytes);
    for (const [digest, manifest] of image.manifests) target.manifests.set(digest, manifest);
    if (tag !== undefined) target.tags.set(tag, image.digest);
  }

  /** Makes an empty repository. */
  create(repository: string): void {
    this.#store.open(repository);
  }

  /** The manifest behind a tag or digest, without any of the traps. */
  manifest(repository: string, reference: string): (StoredManifest & { digest: string }) | undefined {
    const found = this.#store.find(repository);
    const digest = found?.resolve(reference);
    const manifest = digest === undefined ? undefined : found?.manifests.get(digest);
    return manifest && digest !== undefined ? { ...manifest, digest } : undefined;
  }

  blob(repository: string, digest: string): Uint8Array | undefined {
    return this.#store.find(repository)?.blobs.get(digest);
  }

  /** Remembers all that is there; the answer brings it back, whatever was done meanwhile. */
  keep(): () => void {
    const kept = this.#store.names().map((name) => ({ name, copy: this.#store.open(name).copy() }));
    return () => {
      for (const { name, copy } of kept) this.#store.replace(name, copy.copy());
    };
  }

  /** Takes a manifest, a tag or a blob away, past every check; who names it still does. */
  remove(repository: string, reference: string): void {
    const found = this.#store.find(repository);
    if (found?.tags.delete(reference) !== true && found?.manifests.delete(reference) !== true)
      found?.blobs.delete(reference);
  }

  /** Sorted. */
  tags(repository: string): string[] {
    return [...(this.#store.find(repository)?.tags.keys() ?? [])].toSorted();
  }

  /** Names of all repositories that hold anything, sorted. */
  repositories(): string[] {
    return this.#store.names();
  }

  /** Every token that was handed out is refused from now on. */
  expireTokens(): void {
    this.#auth.expireTokens();
  }

  /** Every signed URL of the second server is refused from now on. */
  expireRedirects(): void {
    this.#cdn?.expire();
  }

  /** Stops; throws if this server or the second one got a request that it should not have got. */
  async close(): Promise<void> {
    const servers = [this.server, ...(this.#cdn ? [this.#cdn.server] : [])];
    const results = await Promise.allSettled(servers.map((server) => server.close()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async #serve(exchange: Exchange): Promise<boolean> {
    exchange.response.setHeader('docker-distribution-api-version', 'registry/2.0');
    const { pathname } = exchange.url;
    if (pathname === '/token') return this.#auth.issue(exchange);
    if (pathname === '/v2/') return this.#ping(exchange);
    const route = findRoute(decodeURIComponent(pathname));
    if (!route) return false;
    const from = exchange.url.searchParams.get('from');
    if (this.#options.bufferingAuth === true) await exchange.readAhead();
    if (!this.#auth.admits(exchange, accessFor(exchange.method, route.repository, from))) return true;
    if (!NAME.test(route.repository)) {
      return exchange.refuse(400, { code: 'NAME_INVALID', message: 'invalid repository name' });
    }
    if (!exchange.reads && this.#options.readOnly === 403) {
      return exchange.refuse(403, { code: 'DENIED', message: 'requested access to the resource is denied' });
    }
    if (!exchange.reads && this.#options.readOnly === true) {
      return exchange.refuse(405, { code: 'UNSUPPORTED', message: 'the operation is unsupported' }, { allow: 'GET' });
    }
    if (this.#options.createFirst === true && !this.#store.find(route.repository)) {
      const message = `The repository with name '${route.repository}' does not exist in the registry with id '123456789012'`;
      return exchange.refuse(404, { code: 'NAME_UNKNOWN', message });
    }
    return this.#dispatch(exchange, route);
  }

  #ping(exchange: Exchange): boolean {
    if (!exchange.reads) return false;
    return this.#auth.admits(exchange, new Map()) ? exchange.json(200, {}) : true;
  }

  async #dispatch(exchange: Exchange, { kind, repository, item }: Route): Promise<boolean> {
    const { method } = exchange;
    const handlers: Record<Route['kind'], () => Promise<boolean> | boolean> = {
      uploads: () => method === 'POST' && this.#uploads.start(exchange, repository),
      upload: () => this.#uploads.resume(exchange, repository, item),
      blob: () => serveBlob(exchange, this.#store, { repository, digest: item }, { ...this.#options, cdn: this.#cdn }),
      manifest: () => this.#manifests.serve(exchange, repository, item),
      tags: () => method === 'GET' && this.#manifests.listTags(exchange, repository),
      referrers: () => method === 'GET' && this.#manifests.listReferrers(exchange, repository, item),
    };
    return handlers[kind]();
  }
}

function findRoute(path: string): Route | undefined {
  for (const [kind, pattern] of ROUTES) {
    const [, repository, item = ''] = pattern.exec(path) ?? [];
    if (repository !== undefined) return { kind, repository, item };
  }
  return undefined;
}
