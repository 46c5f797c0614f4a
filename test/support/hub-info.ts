import { createHash } from 'node:crypto';
import type { HubCommit, HubFile, HubRepo } from './hub-repo.ts';

/** One element of a tree listing or of paths-info. */
type TreeEntry = Record<string, unknown> & { type: 'file' | 'directory'; path: string };

/** Properties that `?expand=` knows for models; others are refused with 400. */
const EXPANDABLE = new Set(
  (
    'author baseModels cardData childrenModelCount config createdAt disabled downloads downloadsAllTime evalResults ' +
    'gated gguf inference inferenceProviderMapping lastModified library_name likes mask_token model-index ' +
    'pipeline_tag private resourceGroup safetensors sha siblings spaces tags transformersInfo trendingScore ' +
    'usedStorage widgetData xetEnabled citation description paperswithcode_id datasets models ' +
    'runtime sdk subdomain'
  ).split(' '),
);

/** Repository information as `GET /api/models/{id}` gives it; a string is the message of a 400. */
export function repoInfo(repo: HubRepo, commit: HubCommit, query: URLSearchParams): Record<string, unknown> | string {
  const expand = query.getAll('expand');
  const blobs = isTrue(query.get('blobs'));
  const security = isTrue(query.get('securityStatus'));
  const info = allInfo(repo, commit, blobs);
  if (expand.length === 0) return security ? { ...info, securityRepoStatus: repoSecurity() } : info;
  if (blobs || security) return '"expand" cannot be used with "blobs" or "securityStatus"';
  const unknown = expand.filter((name) => !EXPANDABLE.has(name));
  if (unknown.length > 0) return `"expand" must be one of [${[...EXPANDABLE].join(', ')}], got ${unknown.join(', ')}`;
  const wanted = Object.entries(info).filter(([name]) => expand.includes(name));
  return { _id: info['_id'], id: repo.id, ...Object.fromEntries(wanted) };
}

/** Entries of a folder ('' is the root) in path order; undefined when there is no such folder. */
export function treeEntries(
  repo: HubRepo,
  commit: HubCommit,
  folder: string,
  options: { recursive: boolean; expand: boolean },
): TreeEntry[] | undefined {
  const prefix = folder === '' ? '' : `${folder}/`;
  const inside = [...commit.files.values()].filter((file) => file.path.startsWith(prefix));
  if (folder !== '' && inside.length === 0) return undefined;
  const entries = new Map<string, TreeEntry>();
  for (const file of inside) {
    const parts = file.path.slice(prefix.length).split('/');
    const folders = parts.slice(0, -1).map((_, index) => prefix + parts.slice(0, index + 1).join('/'));
    for (const path of options.recursive ? folders : folders.slice(0, 1)) {
      if (!entries.has(path)) entries.set(path, folderEntry(commit, path, options.expand));
    }
    if (options.recursive || parts.length === 1) entries.set(file.path, fileEntry(repo, commit, file, options.expand));
  }
  return [...entries.values()];
}

/** Entries for exactly these paths, those that do not exist left out. */
export function pathEntries(repo: HubRepo, commit: HubCommit, paths: string[], expand: boolean): TreeEntry[] {
  return paths.flatMap((path) => {
    const file = commit.files.get(path);
    if (file) return [fileEntry(repo, commit, file, expand)];
    const isFolder = [...commit.files.keys()].some((name) => name.startsWith(`${path}/`));
    return isFolder ? [folderEntry(commit, path, expand)] : [];
  });
}

/** Branches, tags and, when asked for, pull requests. */
export function repoRefs(repo: HubRepo, withPulls: boolean): Record<string, unknown> {
  const named = [...repo.branches];
  const list = (names: Iterable<readonly [string, string]>, ref: (name: string) => string): unknown[] =>
    [...names].map(([name, targetCommit]) => ({ name, ref: ref(name), targetCommit }));
  const converts = named.filter(([name]) => name.startsWith('refs/convert/'));
  const pulls = named.filter(([name]) => name.startsWith('refs/pr/'));
  const branches = named.filter(([name]) => !name.startsWith('refs/'));
  return {
    tags: list(repo.tags, (name) => `refs/tags/${name}`),
    branches: list(branches, (name) => `refs/heads/${name}`),
    converts: list(converts, (name) => name),
    ...(withPulls ? { pullRequests: list(pulls, (name) => name) } : {}),
  };
}

/** Whether a flag of a query or a form is set: Python writes `True`, JavaScript `true`, some `1`. */
export function isTrue(value: string | null | undefined): boolean {
  return value === '1' || value?.toLowerCase() === 'true';
}

function allInfo(repo: HubRepo, commit: HubCommit, blobs: boolean): Record<string, unknown> {
  const { spec } = repo;
  const files = [...commit.files.values()];
  const owner = repo.id.includes('/') ? { author: repo.id.split('/')[0] } : {};
  const license = spec.license ? { cardData: { license: spec.license } } : {};
  return {
    _id: createHash('sha1').update(`${repo.type} ${repo.id}`).digest('hex').slice(0, 24),
    id: repo.id,
    ...(repo.type === 'model' ? modelInfo(repo, commit) : {}),
    ...owner,
    sha: commit.id,
    lastModified: commit.date,
    createdAt: '2025-01-01T00:00:00.000Z',
    private: spec.private ?? false,
    gated: spec.gated ?? false,
    disabled: spec.disabled ?? false,
    downloads: 0,
    likes: 0,
    tags: spec.license ? [`license:${spec.license}`, 'region:us'] : ['region:us'],
    ...license,
    siblings: files.map((file) => (blobs ? blobSibling(file) : { rfilename: file.path })),
    usedStorage: files.reduce((sum, file) => sum + (file.lfs?.size ?? 0), 0),
  };
}

function modelInfo(repo: HubRepo, commit: HubCommit): Record<string, unknown> {
  const isSentenceTransformer = commit.files.has('modules.json');
  const kind = isSentenceTransformer
    ? { pipeline_tag: 'sentence-similarity', library_name: 'sentence-transformers' }
    : { library_name: 'transformers' };
  return { modelId: repo.id, ...kind };
}

function blobSibling(file: HubFile): Record<string, unknown> {
  const base = { rfilename: file.path, blobId: file.oid, size: file.bytes.length };
  if (!file.lfs) return base;
  return { ...base, lfs: { sha256: file.lfs.oid, size: file.lfs.size, pointerSize: file.lfs.pointerSize } };
}

function repoSecurity(): Record<string, unknown> {
  return { scansDone: true, filesWithIssues: [] };
}

function fileEntry(repo: HubRepo, commit: HubCommit, file: HubFile, expand: boolean): TreeEntry {
  const size = repo.spec.declaredSizes?.[file.path] ?? file.bytes.length;
  return {
    type: 'file',
    oid: file.oid,
    size,
    ...(file.lfs ? { lfs: { ...file.lfs, size } } : {}),
    ...(file.xetHash ? { xetHash: file.xetHash } : {}),
    path: file.path,
    ...(expand ? { lastCommit: lastCommit(commit), securityFileStatus: fileSecurity } : {}),
  };
}

function folderEntry(commit: HubCommit, path: string, expand: boolean): TreeEntry {
  const oid = createHash('sha1').update(`tree ${commit.id} ${path}`).digest('hex');
  return { type: 'directory', oid, size: 0, path, ...(expand ? { lastCommit: lastCommit(commit) } : {}) };
}

function lastCommit(commit: HubCommit): Record<string, unknown> {
  return { id: commit.id, title: commit.title, date: commit.date };
}

const fileSecurity = {
  status: 'safe',
  jFrogScan: { status: 'unscanned' },
  protectAiScan: { status: 'unscanned' },
  avScan: { status: 'safe', version: '1.4.2/27000' },
  pickleImportScan: { status: 'safe', pickleImports: [], version: '0.0.0' },
  virusTotalScan: { status: 'unscanned' },
};
