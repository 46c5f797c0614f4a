import type { Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';

/** Bytes of a known size that can be opened again at any offset: retry and resume need it. */
export interface Content {
  readonly size: number;
  /** @param end no byte from there on is wanted: who can, asks for no more; more may come all the same */
  open(offset: number, signal?: AbortSignal, end?: number): AsyncIterable<Uint8Array>;
}

/**
 * A place that images are read from: registry, layout, bundle. Beside what is said of each method, all of them throw what the
 * way there gives: E_NETWORK, E_TLS, E_PROTOCOL, E_AUTH, E_RATE_LIMIT and E_REMOTE of a server, E_PATH, E_CORRUPT and E_MEDIUM
 * of files, E_ABORTED.
 */
export interface ContentSource {
  /** From how many places its bytes may come: what is wrong from one may be right from the next. Default: 1. */
  readonly places?: number | undefined;
  /** The root that a tag or digest names. @throws E_NOT_FOUND */
  resolve(reference: string): Promise<Descriptor>;
  /** The bytes of a descriptor, unverified: whoever receives them checks. @throws E_NOT_FOUND, maybe only when they are read */
  fetch(descriptor: Descriptor): Promise<Content>;
  exists(descriptor: Descriptor): Promise<boolean>;
  /** What says of itself that it refers to `subject`: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers */
  referrers(subject: Descriptor): Promise<Descriptor[]>;
  tags(): Promise<string[]>;
}

/** A place that images are written to: it may throw E_REFUSED and E_NO_SPACE as well. */
export interface ContentTarget extends ContentSource {
  /** Asking what is there costs next to nothing: then every child is looked at, though its parent is there. */
  readonly local?: boolean;
  /** Whether nothing has been tagged there yet: then asking for each small blob costs more than it saves. */
  isEmpty?(): Promise<boolean>;
  /** Takes the bytes and verifies them against `expected`: nothing else may become visible. @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH */
  push(expected: Descriptor, content: Content, signal?: AbortSignal): Promise<void>;
  /**
   * Takes a blob that is made while it is read, so that nobody knows its digest before: it comes back. Nothing becomes
   * visible when the content fails. Absent where that cannot be had.
   * @param name for messages
   */
  pushMade?(name: string, content: Content, signal?: AbortSignal): Promise<Digest>;
  tag(descriptor: Descriptor, reference: string): Promise<void>;
  /** Makes `referrers`, which must have been pushed, findable from their subject. @throws E_REFUSED where something else stands in their place */
  attach(subject: Descriptor, referrers: readonly Descriptor[]): Promise<void>;
}

/** Files below a root, by their path with `/`: a directory, or the inside of a bundle. */
export interface FileTree {
  /** Undefined when there is no such file. */
  file(path: string): Promise<Content | undefined>;
}

/** What an object store says of one object. */
export interface ObjectState {
  key: string;
  size: number;
  /** Of the stored bytes; absent when the store does not know it. */
  digest?: Digest | undefined;
  /** What the store calls these very bytes, an ETag or the time of writing: when they change, it does too. */
  version?: string | undefined;
}

/** What the bytes of an object have to be. */
export interface ObjectBytes {
  digest: Digest;
  size: number;
}

/** An upload of ours that was broken off: its parts cost space until somebody goes on with it, or ends it. */
export interface BrokenUpload {
  key: string;
  size: number;
  readonly end: () => Promise<void>;
}

/**
 * A flat namespace of whole objects: S3, GCS, a directory. Keys are relative to the store's prefix. All methods throw what the
 * way there gives: E_NETWORK, E_TLS, E_AUTH, E_RATE_LIMIT and E_REMOTE of a server, E_PATH, E_REFUSED and E_NO_SPACE of a
 * disk, E_NOT_FOUND for a bucket that is not there, E_ABORTED.
 */
export interface ObjectStore {
  /** For people: `s3://bucket/prefix`. */
  readonly name: string;
  /** What is known of one object; undefined when it is not there. */
  head(key: string): Promise<ObjectState | undefined>;
  /** All or nothing: an object becomes visible only when its bytes had the expected digest; its version comes back. @throws E_DIGEST_MISMATCH, E_SIZE_MISMATCH */
  put(
    key: string,
    content: Content,
    expected: ObjectBytes,
    signal?: AbortSignal,
  ): Promise<Pick<ObjectState, 'version'>>;
  /** The bytes of an object, unverified; undefined when it is not there. */
  get(key: string): Promise<Content | undefined>;
  /** The bytes of an object that was listed in this size: nobody is asked before they are read. Reading throws E_NOT_FOUND. */
  content(key: string, size: number): Content;
  /**
   * The same bytes under another name, without their passing through here.
   * @param size of the object
   * @throws E_NOT_FOUND
   */
  copy(from: string, to: string, size: number, signal?: AbortSignal): Promise<void>;
  /** An object that is not there is fine. */
  remove(key: string): Promise<void>;
  /** Each object whose key begins so. */
  list(prefix: string): AsyncIterable<ObjectState>;
  /** How many objects come with one request of a listing; absent where a listing costs none. */
  readonly pageSize?: number;
  /** Where there is such a thing. */
  brokenUploads?(): Promise<BrokenUpload[]>;
}
