import { digestAlgorithm, digestMatches } from './digest.ts';
import type { Exchange } from './registry-exchange.ts';
import type { RegistryStore } from './registry-store.ts';

export interface UploadOptions {
  /** False: mounts are ignored (202). A number: the status that refuses them. Default true. */
  mount?: boolean | number;
  /** The form of the Location header, default relative. */
  location?: 'relative' | 'absolute';
  /** Whether `POST ?digest=` with a body completes a blob (201); by default it only starts a session (202). */
  singlePost?: boolean;
  /** Larger bodies of PATCH and PUT are refused with 413. */
  maxUploadBytes?: number;
  /** Larger bodies with Content-Range are refused with 416, as GHCR does; with `all` those without it too. */
  maxChunk?: { bytes: number; all?: boolean };
  /** Smaller chunks are refused with 400, but for the last one; `told` in OCI-Chunk-Min-Length. */
  minChunk?: { bytes: number; told: boolean };
  /** The status that answers a chunk, default 202. */
  patchStatus?: 201 | 202 | 204;
  /** What happens to a chunk that does not begin where the last one ended: 416 with or without headers, or it is taken. */
  outOfOrder?: 'refused' | 'refused without headers' | 'taken';
  /** What GET of an upload answers: 204, 204 unless a request was broken off in it, or a refusal. Default 204. */
  uploadStatus?: 204 | 'unless broken' | 400 | 404;
  /** The status that answers a cancelled upload, default 204. */
  cancelStatus?: 204 | 400;
  /** Asked whenever some of a body has come in: the connection is cut, or nothing more is read from it. */
  uploadFault?: (at: { method: string; size: number }) => 'cut' | 'hang' | undefined;
}

interface Session {
  id: string;
  repository: string;
  chunks: Buffer[];
  size: number;
  /** A request was broken off in it. */
  broken: boolean;
  /** Every state that was handed out. */
  states: Set<string>;
}

/** The uploads of a registry: sessions survive a dropped connection and keep what had arrived. */
export class Uploads {
  readonly #store: RegistryStore;
  readonly #options: UploadOptions;
  readonly #sessions = new Map<string, Session>();
  #count = 0;

  constructor(store: RegistryStore, options: UploadOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Sessions that were neither completed nor cancelled. */
  get open(): number {
    return this.#sessions.size;
  }

  /** `POST /v2/<name>/blobs/uploads/` */
  async start(exchange: Exchange, repository: string): Promise<true> {
    const { searchParams } = exchange.url;
    const mount = searchParams.get('mount');
    if (mount !== null) {
      const mounted = this.#mount(exchange, repository, mount, searchParams.get('from'));
      if (mounted) return mounted;
    }
    const session = this.#begin(repository);
    const digest = searchParams.get('digest');
    if (digest === null || this.#options.singlePost !== true) return this.#progress(exchange, session, 202);
    await this.#receive(exchange, session);
    return this.#finish(exchange, session, digest);
  }

  /** `GET`, `PATCH`, `PUT` and `DELETE` of an upload; false for other methods. */
  async resume(exchange: Exchange, repository: string, id: string): Promise<boolean> {
    if (!['GET', 'PATCH', 'PUT', 'DELETE'].includes(exchange.method)) return false;
    const session = this.#sessions.get(id);
    if (session?.repository !== repository) {
      return exchange.refuse(404, { code: 'BLOB_UPLOAD_UNKNOWN', message: 'blob upload unknown to registry' });
    }
    if (!session.states.has(exchange.rawState ?? '')) {
      return invalidUpload(exchange, 'the query of Location was not sent back as it was');
    }
    if (exchange.method === 'GET') return this.#status(exchange, session);
    if (exchange.method === 'DELETE') return this.#cancel(exchange, session);
    return this.#write(exchange, session);
  }

  #mount(exchange: Exchange, repository: string, digest: string, from: string | null): true | undefined {
    const { mount = true } = this.#options;
    if (typeof mount === 'number') {
      return exchange.refuse(mount, { code: 'DENIED', message: 'cross-repository mount is refused' });
    }
    const bytes = mount && from !== null ? this.#store.find(from)?.blobs.get(digest) : undefined;
    if (!bytes) return undefined;
    this.#store.open(repository).blobs.set(digest, bytes);
    return this.#created(exchange, repository, digest);
  }

  #begin(repository: string): Session {
    this.#count += 1;
    const id = `00000000-0000-4000-8000-${String(this.#count).padStart(12, '0')}`;
    const session: Session = { id, repository, chunks: [], size: 0, broken: false, states: new Set() };
    this.#sessions.set(id, session);
    return session;
  }

  #status(exchange: Exchange, session: Session): true {
    const { uploadStatus = 204 } = this.#options;
    if (uploadStatus === 400) return exchange.refuse(400, { code: 'NAME_INVALID', message: 'invalid digest' });
    if (uploadStatus === 404 || (uploadStatus === 'unless broken' && session.broken)) {
      return invalidUpload(exchange, 'upload resumed at wrong offset');
    }
    return this.#progress(exchange, session, 204);
  }

  #cancel(exchange: Exchange, session: Session): true {
    const { cancelStatus = 204 } = this.#options;
    if (cancelStatus !== 204) return exchange.refuse(cancelStatus, { code: 'NAME_INVALID', message: 'invalid digest' });
    this.#sessions.delete(session.id);
    return exchange.empty(204);
  }

  async #write(exchange: Exchange, session: Session): Promise<true> {
    const refused = this.#refuseWrite(exchange, session);
    if (refused) return refused;
    const before = session.size;
    session.broken = true;
    await this.#receive(exchange, session);
    session.broken = false;
    const span = contentRange(exchange);
    if (span && session.size - before !== span.length) {
      return exchange.refuse(400, { code: 'SIZE_INVALID', message: 'the body is not as long as Content-Range says' });
    }
    if (exchange.method === 'PATCH') return this.#progress(exchange, session, this.#options.patchStatus ?? 202);
    return this.#finish(exchange, session, exchange.url.searchParams.get('digest') ?? '');
  }

  async #receive(exchange: Exchange, session: Session): Promise<void> {
    for await (const chunk of exchange.body()) {
      session.chunks.push(chunk);
      session.size += chunk.length;
      const fault = this.#options.uploadFault?.({ method: exchange.method, size: session.size });
      if (fault === 'hang') await new Promise(() => {});
      if (fault === 'cut') {
        exchange.request.socket.resetAndDestroy();
        throw new Error('cut on purpose');
      }
    }
  }

  #refuseWrite(exchange: Exchange, session: Session): true | undefined {
    const { maxUploadBytes = Infinity } = this.#options;
    if (Number(exchange.header('content-length') ?? 0) > maxUploadBytes) {
      return exchange.refuse(413, { code: 'SIZE_INVALID', message: 'request entity too large' });
    }
    return refuseFraming(exchange) ?? this.#refuseChunk(exchange, session) ?? this.#refuseOffset(exchange, session);
  }

  #refuseChunk(exchange: Exchange, session: Session): true | undefined {
    const { maxChunk, minChunk } = this.#options;
    const length = Number(exchange.header('content-length') ?? 0);
    const span = contentRange(exchange);
    if (maxChunk && length > maxChunk.bytes && (span || maxChunk.all === true)) {
      const message = `exceeds the maximum permissible limit of ${maxChunk.bytes} bytes`;
      return exchange.refuse(416, { code: 'SIZE_INVALID', message });
    }
    // The last chunk may be as small as it is, but that it is the last one nobody knows before the next request.
    if (minChunk && exchange.method === 'PATCH' && length < minChunk.bytes && session.size + length <= minChunk.bytes) {
      return exchange.refuse(400, { code: 'BLOB_UPLOAD_INVALID', message: 'Layer part is too small' });
    }
    return undefined;
  }

  #refuseOffset(exchange: Exchange, session: Session): true | undefined {
    const text = exchange.header('content-range');
    if (text === undefined) {
      // The state carries the offset, so bytes of an attempt that broke off cannot be appended to twice.
      if (exchange.rawState === state(session)) return undefined;
      return invalidUpload(exchange, 'upload resumed at wrong offset');
    }
    const span = contentRange(exchange);
    if (span && span.length > 0 && (span.start === session.size || this.#options.outOfOrder === 'taken'))
      return undefined;
    const headers =
      this.#options.outOfOrder === 'refused without headers' ? {} : this.#progressHeaders(exchange, session);
    return exchange.refuse(416, { code: 'RANGE_INVALID', message: `invalid content range ${text}` }, headers);
  }

  #finish(exchange: Exchange, session: Session, digest: string): true {
    if (digestAlgorithm(digest) === undefined) {
      return exchange.refuse(400, { code: 'DIGEST_INVALID', message: 'digest parsing failed', detail: digest });
    }
    this.#sessions.delete(session.id);
    const bytes = Buffer.concat(session.chunks);
    if (!digestMatches(bytes, digest)) {
      const message = 'provided digest did not match uploaded content';
      return exchange.refuse(400, { code: 'DIGEST_INVALID', message, detail: digest });
    }
    this.#store.open(session.repository).blobs.set(digest, bytes);
    return this.#created(exchange, session.repository, digest);
  }

  #created(exchange: Exchange, repository: string, digest: string): true {
    const location = this.#url(exchange, `/v2/${repository}/blobs/${digest}`);
    return exchange.empty(201, { location, 'docker-content-digest': digest });
  }

  #progress(exchange: Exchange, session: Session, status: number): true {
    return exchange.empty(status, this.#progressHeaders(exchange, session));
  }

  #progressHeaders(exchange: Exchange, session: Session): Record<string, string> {
    const current = state(session);
    session.states.add(current);
    return {
      location: this.#url(exchange, `/v2/${session.repository}/blobs/uploads/${session.id}?_state=${current}`),
      // A fresh session says 0-0 too, which means nothing: the header cannot express an empty range.
      range: `0-${Math.max(session.size - 1, 0)}`,
      'docker-upload-uuid': session.id,
      ...(this.#options.minChunk?.told === true && {
        'oci-chunk-min-length': String(this.#options.minChunk.bytes),
      }),
    };
  }

  #url(exchange: Exchange, path: string): string {
    return this.#options.location === 'absolute' ? exchange.base + path : path;
  }
}

/** `+`, `~` and escapes: a client that takes the query apart and puts it together again gives itself away. */
function state(session: Session): string {
  return `${session.id.slice(-6)}~+%2F${session.size}%3D%3D`;
}

function refuseFraming(exchange: Exchange): true | undefined {
  const contentType = exchange.header('content-type');
  const isPatch = exchange.method === 'PATCH';
  if (isPatch && contentType !== undefined && contentType !== 'application/octet-stream') {
    return exchange.refuse(400, { code: 'UNSUPPORTED', message: `bad Content-Type ${contentType}` });
  }
  // zot refuses this, and so do stores of the S3 kind behind a registry.
  if (!isPatch && exchange.header('transfer-encoding') !== undefined) {
    return exchange.refuse(400, { code: 'SIZE_INVALID', message: 'PUT needs Content-Length' });
  }
  return undefined;
}

function contentRange(exchange: Exchange): { start: number; length: number } | undefined {
  const [, start, end] = /^(\d+)-(\d+)$/.exec(exchange.header('content-range') ?? '') ?? [];
  if (start === undefined || end === undefined) return undefined;
  return { start: Number(start), length: Number(end) - Number(start) + 1 };
}

function invalidUpload(exchange: Exchange, detail: string): true {
  return exchange.refuse(404, { code: 'BLOB_UPLOAD_INVALID', message: 'blob upload invalid', detail });
}
