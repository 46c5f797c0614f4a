import { createHash } from 'node:crypto';

/** Kinds of repositories that the test hub keeps. */
export type RepoType = 'model' | 'dataset' | 'space';

/** Contents of one revision, by path. */
export type RepoFiles = Record<string, Uint8Array | string>;

/** What a test says about a repository; a second call for the same id adds a commit. */
export interface RepoSpec {
  /** `org/name`, or `name` for a canonical repository. */
  id: string;
  files: RepoFiles;
  /** Paths kept in LFS. Default: `*.safetensors`, `*.bin`, `*.onnx` and everything above 1 MiB. */
  lfs?: readonly string[] | ((path: string, bytes: Uint8Array) => boolean);
  /** Names that point to this commit; default `['main']`. `refs/pr/N` and `refs/convert/X` are names too. */
  branches?: readonly string[];
  tags?: readonly string[];
  gated?: 'auto' | 'manual';
  private?: boolean;
  /** Taken down by moderation: 403 without a code. */
  disabled?: boolean;
  type?: RepoType;
  license?: string;
  /** Former ids, which redirect with 307. */
  movedFrom?: readonly string[];
  /** Sizes that listings tell instead of the true ones, by path. */
  declaredSizes?: Record<string, number>;
  /** LFS files have a xet hash and the headers that go with it. */
  xet?: boolean;
}

/** One file of one commit. */
export interface HubFile {
  path: string;
  bytes: Uint8Array;
  /** Git sha1: of the bytes, or of the pointer for an LFS file. */
  oid: string;
  lfs?: { oid: string; size: number; pointerSize: number };
  xetHash?: string;
}

/** One commit of a repository. */
export interface HubCommit {
  id: string;
  title: string;
  date: string;
  files: ReadonlyMap<string, HubFile>;
}

/** A repository with its commits and names. */
export class HubRepo {
  readonly commits = new Map<string, HubCommit>();
  readonly branches = new Map<string, string>();
  readonly tags = new Map<string, string>();
  readonly movedFrom = new Set<string>();
  readonly id: string;
  readonly type: RepoType;
  /** The newest description: flags such as `gated` belong to the repository, not to a commit. */
  spec: RepoSpec;

  constructor(spec: RepoSpec) {
    this.id = spec.id;
    this.type = spec.type ?? 'model';
    this.spec = spec;
  }

  /** Adds a commit and moves the names that the description gives. */
  add(spec: RepoSpec): HubCommit {
    this.spec = spec;
    const files = fileMap(spec);
    const id = commitId(this, files);
    const commit = this.commits.get(id) ?? { id, title: `Commit ${this.commits.size + 1}`, date: this.#date(), files };
    this.commits.set(id, commit);
    for (const name of spec.branches ?? ['main']) this.branches.set(name, id);
    for (const name of spec.tags ?? []) this.tags.set(name, id);
    for (const name of spec.movedFrom ?? []) this.movedFrom.add(name.toLowerCase());
    return commit;
  }

  /** The commit of a branch, a tag, `HEAD` or a full sha; short shas are no revisions. */
  resolve(revision: string): HubCommit | undefined {
    const name = revision === 'HEAD' ? 'main' : revision;
    return this.commits.get(this.branches.get(name) ?? this.tags.get(name) ?? revision);
  }

  #date(): string {
    return new Date(Date.UTC(2025, 0, 1 + this.commits.size)).toISOString();
  }
}

/** The hash that git gives to a blob of these bytes. */
export function gitSha1(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function fileMap(spec: RepoSpec): Map<string, HubFile> {
  const files = new Map<string, HubFile>();
  for (const [path, content] of Object.entries(spec.files).sort(byPath)) files.set(path, hubFile(spec, path, content));
  return files;
}

function byPath([a]: [string, unknown], [b]: [string, unknown]): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function hubFile(spec: RepoSpec, path: string, content: Uint8Array | string): HubFile {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  if (!isLfs(spec, path, bytes)) return { path, bytes, oid: gitSha1(bytes) };
  const oid = createHash('sha256').update(bytes).digest('hex');
  const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${bytes.length}\n`);
  const file: HubFile = {
    path,
    bytes,
    oid: gitSha1(pointer),
    lfs: { oid, size: bytes.length, pointerSize: pointer.length },
  };
  if (spec.xet) file.xetHash = createHash('sha256').update('xet').update(oid).digest('hex');
  return file;
}

function isLfs(spec: RepoSpec, path: string, bytes: Uint8Array): boolean {
  if (typeof spec.lfs === 'function') return spec.lfs(path, bytes);
  if (spec.lfs) return spec.lfs.includes(path);
  return /\.(?:safetensors|bin|onnx)$/.test(path) || bytes.length > 1_048_576;
}

function commitId(repo: HubRepo, files: Map<string, HubFile>): string {
  const hash = createHash('sha1').update(`commit ${repo.type} ${repo.id}\n`);
  for (const file of files.values()) hash.update(`${file.path}\0${file.oid}\n`);
  return hash.digest('hex');
}
