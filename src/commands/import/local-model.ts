import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type BundleBlob, type Inventory, inventorySchemaId, type ModelItem } from '../../bundle/records/inventory.ts';
import { totalSize } from '../../core/descriptor.ts';
import { type Digest, digestHex, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { checkRelativePath } from '../../core/path.ts';
import type { Content } from '../../core/ports.ts';
import { contentOf } from '../../core/stream.ts';
import { toolName } from '../../core/version.ts';
import { HashPool } from '../../fs/hash-pool.ts';
import { fileContent } from '../../fs/read.ts';
import { listTree } from '../../fs/tree.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import { treeDocument } from '../../hub/snapshot/tree-document.ts';
import { isRepoName } from '../../hub/repo.ts';
import type { Context } from '../context.ts';
import type { ModelSource } from './placed-object.ts';

interface LocalFile {
  /** Of the model. */
  path: string;
  /** On this machine. */
  from: string;
  size: number;
  digest: Digest;
}

/** A file or directory of this machine as a model that came from no hub. */
export interface LocalModel {
  source: ModelSource;
  item: ModelItem;
  /** What stands in for the inventory of a bundle: the digest of the list of files. */
  identity: Digest;
}

/**
 * Reads what a model consists of, and hashes it.
 * @param name `ORG/NAME` or `NAME`
 * @param hex sha256 of the one file, which is held to it and not read beforehand
 * @throws E_USAGE for a name that no repo has, and for a sha256 of a directory; E_NOT_FOUND, E_PATH, E_CORRUPT
 */
export async function readLocalModel(
  path: string,
  name: string,
  hex: string | undefined,
  context: Context,
): Promise<LocalModel> {
  if (!isRepoName(name))
    throw new MirrorError(
      'E_USAGE',
      `\`--as ${name}\`: ORG/NAME or NAME was wanted, of letters, digits, \`.\`, \`_\` and \`-\``,
    );
  if (hex !== undefined && !/^[0-9a-f]{64}$/.test(hex))
    throw new MirrorError('E_USAGE', '`--sha256` wants 64 digits of lower-case hex');
  const found = await filesAt(path, context);
  if (hex !== undefined && found.isDirectory)
    throw new MirrorError('E_USAGE', `\`${path}\` is a directory, and \`--sha256\` speaks of one file`, {
      hint: 'leave it out: the sha256 of each file is computed, and stands in the receipt',
    });
  return modelOf(
    name,
    hex === undefined ? await hashed(found.files, context) : withDigest(found.files, `sha256:${hex}`),
  );
}

type Unhashed = Omit<LocalFile, 'digest'>;

async function filesAt(path: string, context: Context): Promise<{ isDirectory: boolean; files: Unhashed[] }> {
  const root = context.path(path);
  const found = await stat(root).catch(() => undefined);
  if (!found) throw new MirrorError('E_NOT_FOUND', `there is no \`${path}\``, { at: { side: 'source', item: path } });
  if (found.isFile()) {
    const name = checkRelativePath(basename(root), 'what is imported');
    return { isDirectory: false, files: [{ path: name, from: root, size: found.size }] };
  }
  const files: Unhashed[] = [];
  for (const entry of await listTree(root)) {
    if (isBesides(entry.path)) continue;
    const from = join(root, checkRelativePath(entry.path, 'what is imported'));
    files.push({ path: entry.path, from, size: 'size' in entry ? entry.size : await sizeBehind(from, entry.path) });
  }
  if (files.length === 0)
    throw new MirrorError('E_NOT_FOUND', `\`${path}\` holds no file`, { at: { side: 'source', item: path } });
  return { isDirectory: true, files };
}

/** What git and `hf download` keep for themselves. */
function isBesides(path: string): boolean {
  return /^\.(?:git|cache)\//.test(path);
}

/** A snapshot in a cache consists of links to its blobs. */
async function sizeBehind(link: string, path: string): Promise<number> {
  const found = await stat(link).catch(() => undefined);
  if (found?.isFile()) return found.size;
  throw new MirrorError('E_PATH', `\`${path}\` is a link that leads to no file`, {
    hint: 'name the directory that holds the files themselves',
    at: { side: 'source', item: path },
  });
}

async function hashed(files: readonly Unhashed[], context: Context): Promise<LocalFile[]> {
  context.report({ type: 'stage', text: 'computing sha256' });
  context.report({ type: 'total', bytes: totalSize(files) });
  const onBytes = (bytes: number): void => context.report({ type: 'bytes', bytes });
  await using pool = new HashPool(Math.min(context.threads, files.length), onBytes, context.signal);
  // The pool ends with this scope.
  return await Promise.all(
    files.map(async (file): Promise<LocalFile> => {
      const hex = await pool.sha256([{ path: file.from, offset: 0, size: file.size }]);
      return { ...file, digest: `sha256:${hex}` };
    }),
  );
}

function withDigest(files: readonly Unhashed[], digest: Digest): LocalFile[] {
  return files.map((file) => ({ ...file, digest }));
}

function modelOf(repo: string, files: readonly LocalFile[]): LocalModel {
  const identity = sha256(JSON.stringify(files.map(({ path, digest, size }) => [path, digest, size])));
  const tree = Buffer.from(treeDocument(files.map(asRepoFile)));
  const item: ModelItem = {
    kind: 'model',
    repo,
    // Loaders want a commit; this one is the same for the same files.
    commit: digestHex(identity).slice(0, 40),
    refs: ['main'],
    files: files.map(({ path, digest, size }) => ({ path, digest, size })),
    tree: { digest: sha256(tree), size: tree.length },
  };
  return { source: sourceOf(item, files, tree), item, identity };
}

/** To git a large file is a pointer, whose hash is known when its sha256 is: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
function asRepoFile({ path, size, digest }: LocalFile): Parameters<typeof treeDocument>[0][number] {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid ${digest}\nsize ${size}\n`;
  const gitOid = createHash('sha1').update(`blob ${pointer.length}\0${pointer}`).digest('hex');
  return { path, size, checksum: { algorithm: 'sha256', hex: digestHex(digest) }, gitOid };
}

function sourceOf(item: ModelItem, files: readonly LocalFile[], tree: Buffer): ModelSource {
  const folder = repoFolder(item.repo);
  const blobs = files.map(({ digest, size }): BundleBlob => {
    return { path: `hub/${folder}/blobs/${digestHex(digest)}`, digest, size, parts: [] };
  });
  const contents = new Map<Digest, Content>([[item.tree.digest, contentOf(tree)]]);
  for (const { digest, from, size } of files) contents.set(digest, fileContent([{ path: from, offset: 0, size }]));
  const name = item.repo.replace('/', '--');
  const inventory: Inventory = {
    schema: inventorySchemaId,
    name,
    tool: toolName,
    items: [item],
    blobs,
    links: [],
    volumes: [],
  };
  const list: BundleBlob = { path: `hub/${folder}/trees/${item.commit}.json`, ...item.tree, parts: [] };
  const byDigest = new Map<string, BundleBlob>([...blobs, list].map((each) => [each.digest, each]));
  const blob = (digest: Digest): Content => {
    const content = contents.get(digest);
    if (!content) throw new MirrorError('E_NOT_FOUND', `\`${digest}\` is not in \`${name}\``);
    return content;
  };
  return {
    inventory,
    find: (digest) => byDigest.get(digest),
    findEach: (digests, make) =>
      Array.from({ length: digests.length }, (_, index) => {
        const found = byDigest.get(digests.at(index) ?? '');
        return found && make(found);
      }),
    lacking: () => [],
    blob,
    content: ({ digest }) => blob(digest),
  };
}
