import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash, type Hash } from 'node:crypto';
import { type CarriedFile, isNodeFile } from '../bundle/carried.ts';
import { verifyGuide } from '../bundle/guide.ts';
import {
  bundleFiles,
  type Inventory,
  inventorySchemaId,
  type BundleItem,
  type BundleBlob,
} from '../bundle/inventory.ts';
import { checkInventory } from '../bundle/inventory-check.ts';
import { inventoryChunks } from '../bundle/inventory-text.ts';
import { packed } from '../bundle/long-list.ts';
import { TextMap } from '../bundle/text-map.ts';
import { FileDigests } from '../bundle/file-digests.ts';
import { chainsOf, defaultVolumeSize, planVolumes, type VolumePlan } from '../bundle/layout.ts';
import { VolumeJournal } from '../bundle/journal.ts';
import { formatSums } from '../bundle/seal.ts';
import type { SourceFile } from '../bundle/source-file.ts';
import { writeVolumes, type WrittenVolumes } from '../bundle/writer.ts';
import { checksumOf, sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { toolName } from '../core/version.ts';
import { ensureWritable, writeFileAtomic } from '../fs/atomic.ts';
import { syncDirectory } from '../fs/directories.ts';
import { receiveFile } from '../fs/receive.ts';
import { descriptorsOf } from '../oci/graph.ts';
import type { ManifestDocument } from '../oci/types.ts';
import { describeBase } from './bundle/item.ts';
import { type Base, leaveOut, type LeftOut, readBase } from './base.ts';
import { chooseMedia, volumesAtOnce } from './bundle/media.ts';
import { type CarriedNodes, readNodes } from './bundle/node.ts';
import { readTool } from './bundle/tool.ts';
import { refuseTwins } from './bundle/twins.ts';
import type { Context } from './context.ts';
import { openSigning, type SigningKey, type SigningOptions } from './signing.ts';
import { entriesOf, readStore, type StoreContents } from './store.ts';
import { defaultName } from './store-lock.ts';

export interface BundleOptions extends SigningOptions {
  store: string;
  out: string;
  /** More directories, on other media: they are filled one after the other. */
  moreOut?: readonly string[] | undefined;
  /** The most that goes to one of them, in bytes. */
  mediumSize?: number | undefined;
  /** How many volumes to write at a time; else what suits the media. */
  volumesAtOnce?: number | undefined;
  /** In bytes. */
  volumeSize?: number | undefined;
  name?: string | undefined;
  /** A receipt, an inventory or a bundle: what the zone holds already. */
  base?: string | undefined;
  /** A Node.js for each platform of the zone, as `PLATFORM=FILE`. */
  withNode?: readonly string[] | undefined;
  /** Paths of public keys, one of which must have signed the base. */
  baseKeys?: readonly string[] | undefined;
}

/** The store as a sealed bundle in `OUT/NAME`, and in each further directory what makes that medium complete. SHA256SUMS comes last: without it a directory is no bundle. */
export async function bundle(options: BundleOptions, context: Context): Promise<Report> {
  const key = await openSigning(options, context);
  const tool = await readTool(context);
  const { nodes, files: nodeFiles } = await readNodes(options.withNode ?? [], context);
  const carried = [...tool, ...nodeFiles];
  const base = options.base === undefined ? undefined : await readBase(options.base, options.baseKeys ?? [], context);
  const store = context.path(options.store);
  await context.lockForReading(store);
  const contents = await readStore(store);
  refuseTwins(contents);
  const left = base && (await leaveOut(contents, base, context));
  const name = checkName(options.name ?? contents.lock?.name ?? defaultName);
  const plans = planVolumes(name, entriesOf(contents), options.volumeSize ?? defaultVolumeSize);
  const directories = [options.out, ...(options.moreOut ?? [])].map((out) => join(context.path(out), name));
  for (const directory of directories) await context.lock(directory, join(directory, '..', `.${name}.lock`));
  const besides = carried.reduce((sum, { content }) => sum + content.size, 0) + bytesPerEntry * contents.files.length;
  const media = await chooseMedia(directories, plans, { mediumSize: options.mediumSize, besides });
  const pathOf = (volume: string): string => join(media.get(volume) ?? '', volume);
  const journal = await openJournal(store, pathOf, plans, contents.files);
  if (!journal)
    context.report({ type: 'note', text: `\`${store}\` cannot be written to: a broken run will begin anew` });
  for (const directory of directories) await clearDirectory(directory, name, journal);
  context.report({ type: 'stage', text: `writing ${plural(plans.length, 'volume')} to ${directories.join(', ')}` });
  context.report({ type: 'total', bytes: contents.files.reduce((sum, { size }) => sum + size, 0) });
  const written = await writeVolumes(pathOf, plans, contents.files, {
    report: context.report,
    signal: context.signal,
    journal,
    atOnce: await volumesAtOnce(directories, options.volumesAtOnce, context.threads),
  });
  // What a verifier would refuse must not leave.
  const inventory = checkInventory(makeInventory(name, contents, written, base && left && { base, left }));
  await seal(directories, { inventory, carried, nodes }, key, context.signal);
  await journal?.remove();
  return summarise(directories, inventory, plans, key);
}

/** About what the inventory says of one file. */
const bytesPerEntry = 400;

function checkName(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw new MirrorError('E_USAGE', `\`${name}\` cannot be the name of a bundle`, {
      hint: 'use letters, digits, `.`, `_` and `-`, at most 63',
    });
  return name;
}

/** What of these volumes an earlier run has written, as long as it is still there. */
async function openJournal(
  store: string,
  pathOf: (volume: string) => string,
  plans: readonly VolumePlan[],
  files: readonly SourceFile[],
): Promise<VolumeJournal | undefined> {
  const decided = createHash('sha256').update(toolName);
  for (const { name, members } of plans) {
    decided.update(name);
    for (const member of members)
      decided.update(
        `${member.path}\n${member.offset} ${member.kind === 'file' ? `${member.start} ${member.size}` : member.target}\n`,
      );
  }
  for (const file of files) decided.update(`${JSON.stringify(await identityOf(file))}\n`);
  const id = sha256(plans.map(({ name }) => pathOf(name)).join('\n')).slice('sha256:'.length, 'sha256:'.length + 16);
  const journal = await VolumeJournal.open(join(store, `.bundle-${id}.journal`), `sha256:${decided.digest('hex')}`);
  const lacking = new Set<string>();
  for (const chain of chainsOf(plans)) {
    let isWhole = true;
    // A file goes over from one to the next: what comes after one that is gone has to be written again as well.
    for (const { name, size } of chain) {
      isWhole &&= (await stat(pathOf(name)).catch(() => undefined))?.size === size;
      if (!isWhole) lacking.add(name);
    }
  }
  await journal?.forget(lacking);
  return journal;
}

/** What a file is, without reading it: what it is named after, or when it was written. */
async function identityOf({ path, from, size, checksum }: SourceFile): Promise<unknown[]> {
  return [path, size, checksum?.hex ?? (await stat(from)).mtimeMs];
}

/** Takes away what a broken run left and cannot be used; anything else that stands there is somebody's. */
async function clearDirectory(directory: string, name: string, journal: VolumeJournal | undefined): Promise<void> {
  const kept = new Set(journal?.done.map(({ volume }) => volume.name));
  await ensureWritable(directory);
  const found = await readdir(directory);
  if (found.includes(bundleFiles.sums))
    throw new MirrorError('E_REFUSED', `\`${directory}\` holds a finished bundle already`, {
      hint: 'choose another `--out` or `--name`, or delete it first',
    });
  const ours = (file: string): boolean => {
    const plain = file.replace(/(?:\.[0-9a-f]{8})?\.partial$/, '');
    return (
      Object.values<string>(bundleFiles).includes(plain) ||
      isNodeFile(plain) ||
      (plain.startsWith(`${name}.`) && /\.\d{4,}\.tar$/.test(plain))
    );
  };
  const foreign = found.find((file) => !ours(file));
  if (foreign !== undefined)
    throw new MirrorError('E_REFUSED', `\`${directory}\` holds \`${foreign}\`, which is not part of a bundle`, {
      hint: 'choose another `--out` or `--name`, or move it away',
    });
  for (const file of found) if (!kept.has(file)) await rm(join(directory, file), { recursive: true });
}

function makeInventory(
  name: string,
  contents: StoreContents,
  volumes: WrittenVolumes,
  delta: { base: Base; left: LeftOut } | undefined,
): Inventory {
  const written = new FileDigests(volumes.blobs);
  const links = new TextMap();
  let index = 0;
  for (const { path } of contents.links) {
    links.set(path, index);
    index += 1;
  }
  const place = (path: string): Pick<BundleBlob, 'digest' | 'size'> => {
    const link = contents.links.at(links.get(path) ?? contents.links.length);
    const end = link === undefined ? path : join(path, '..', link.link);
    const found = written.get(end) ?? delta?.left.paths.get(end);
    if (!found) throw new MirrorError('E_INTERNAL', `\`${path}\` is in no volume`);
    return { digest: found.digest, size: found.size };
  };
  const licenseOf = (repo: string, commit: string): { license?: string } => {
    const license = contents.lock?.models.find((model) => model.repo === repo && model.commit === commit)?.license;
    return license === undefined ? {} : { license };
  };
  const models: BundleItem[] = contents.models.map(({ repo, commit, refs, files, tree }) => ({
    kind: 'model',
    repo,
    commit,
    ...licenseOf(repo, commit),
    refs,
    files: packed(files, ({ path, stored }) => ({ path, ...place(stored) })),
    tree: place(tree),
  }));
  const images: BundleItem[] = contents.images.map(({ reference, graph }) => {
    const { mediaType, digest, size, artifactType = kindOf(graph.root.document) } = graph.root.descriptor;
    const root = { mediaType, digest, size, ...(artifactType === undefined ? {} : { artifactType }) };
    const to = contents.lock?.images.find((image) => image.reference === reference)?.to;
    return {
      kind: 'image',
      reference,
      root,
      digests: descriptorsOf(graph)
        .map((each) => each.digest)
        .sort(),
      ...(to === undefined ? {} : { to }),
    };
  });
  const base = delta && { name: delta.base.name, digest: delta.base.digest, held: delta.left.held };
  const items = [...models, ...images];
  return { schema: inventorySchemaId, name, tool: toolName, ...(base ? { base } : {}), items, ...volumes };
}

interface Sealable {
  inventory: Inventory;
  carried: readonly CarriedFile[];
  nodes: CarriedNodes['nodes'];
}

/** What an artifact is; images say nothing of the kind. */
function kindOf({ artifactType }: ManifestDocument): string | undefined {
  return /\.image\.(?:config\.)?v1\+json$/.test(artifactType ?? '') ? undefined : artifactType;
}

/** Each medium gets everything but the volumes of the others, and SHA256SUMS when all of them are written. */
async function seal(
  directories: readonly string[],
  { inventory, carried, nodes }: Sealable,
  key: SigningKey | undefined,
  signal: AbortSignal,
): Promise<void> {
  const sums = new Map(inventory.volumes.map((volume) => [volume.name, volume.digest.slice('sha256:'.length)]));
  const put = async (name: string, data: string | Buffer): Promise<void> => {
    for (const directory of directories) await writeFileAtomic(join(directory, name), data);
  };
  const add = async (name: string, data: string | Buffer): Promise<void> => {
    await put(name, data);
    sums.set(name, createHash('sha256').update(data).digest('hex'));
  };
  for (const { name, content, sha256: hex } of carried) {
    const expected = { size: content.size, checksum: checksumOf(`sha256:${hex}`), item: name };
    for (const directory of directories) await receiveFile(join(directory, name), content, expected, { signal });
    sums.set(name, hex);
  }
  await add(bundleFiles.guide, verifyGuide(inventory, key?.fingerprint, nodes));
  const hash = createHash('sha256');
  for (const [index, directory] of directories.entries()) {
    const chunks = inventoryChunks(inventory);
    await writeFileAtomic(join(directory, bundleFiles.inventory), index === 0 ? hashing(chunks, hash) : chunks);
  }
  sums.set(bundleFiles.inventory, hash.digest('hex'));
  // What the sums speak of is on the medium before they are.
  for (const directory of directories) await syncDirectory(directory);
  const text = formatSums(sums);
  if (key) {
    const { plain, sigstore } = await key.sign(Buffer.from(text));
    await put(bundleFiles.signature, plain);
    await put(bundleFiles.sigstore, sigstore);
  }
  await put(bundleFiles.sums, text);
}

function* hashing(chunks: Iterable<Buffer>, hash: Hash): Generator<Buffer> {
  for (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function summarise(
  directories: readonly string[],
  inventory: Inventory,
  plans: readonly VolumePlan[],
  key: SigningKey | undefined,
): Report {
  const bytes = plans.reduce((sum, { size }) => sum + size, 0);
  const items = inventory.volumes.map(({ name, size, digest }) => ({
    kind: 'volume',
    name,
    state: 'done' as const,
    bytes: size,
    digest,
  }));
  const models = inventory.items.filter(({ kind }) => kind === 'model').length;
  const print = key?.fingerprint;
  const summary = [
    ...(inventory.base ? [describeBase(inventory.base)] : []),
    ...inventory.volumes.map(({ name, size }) => `${name}  ${formatBytes(size)}`),
    print === undefined ? 'not signed; `--sign KEY` would prove who made it' : `signed with the key ${print}`,
    `${directories.join(', ')}: ${plural(models, 'model')}, ${plural(inventory.items.length - models, 'image')}, ${formatBytes(bytes)} in ${plural(plans.length, 'volume')}; check it with \`sie-mirror verify ${directories.join(' --from ')}${key ? ' --key PUBLIC_KEY' : ''}\``,
  ];
  return makeReport('bundle', items, { volumes: plans.length, bytes, items: inventory.items.length }, [...summary]);
}
