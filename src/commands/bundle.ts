import { join } from 'node:path';
import { totalSize } from '../core/descriptor.ts';
import { type Inventory, inventorySchemaId, type BundleItem, type BundleBlob } from '../bundle/records/inventory.ts';
import { checkInventory } from '../bundle/records/inventory-check.ts';
import { packed } from '../bundle/lists/long-list.ts';
import { FileDigests } from '../bundle/lists/file-digests.ts';
import { defaultVolumeSize, planVolumes, type VolumePlan } from '../bundle/writing/layout.ts';
import { writeError } from '../bundle/medium-errors.ts';
import { writeVolumes, type WrittenVolumes } from '../bundle/writing/writer.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { toolName } from '../core/version.ts';
import { ensureWritable } from '../fs/atomic.ts';
import { descriptorsOf } from '../oci/graph.ts';
import type { ManifestDocument } from '../oci/types.ts';
import { describeBase } from './bundle/item.ts';
import { type Base, leaveOut, type LeftOut, readBase } from './records/base.ts';
import { chooseMedia, volumesAtOnce } from './bundle/media.ts';
import { checkName, warnOfNames } from './bundle/names.ts';
import { readNodes } from './bundle/node.ts';
import { checkDirectories } from './bundle/out-directories.ts';
import { clearDirectory, forgetLacking, openJournal, volumesThere } from './bundle/resume.ts';
import { seal } from './bundle/seal-media.ts';
import { readTool } from './bundle/tool.ts';
import { refuseTwins } from './bundle/twins.ts';
import type { Context } from './context.ts';
import { openSigning, type SigningKey, type SigningOptions } from './records/signing.ts';
import { entriesOf, readStore, type StoreContents } from './store/store.ts';
import { defaultName } from './store/store-lock.ts';

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

/**
 * The store as a sealed bundle in `OUT/NAME`, and in each further directory what makes that medium complete. SHA256SUMS comes
 * last: without it a directory is no bundle.
 * @throws E_USAGE, E_NOT_FOUND, E_CORRUPT and E_MISSING before anything is written; E_NO_SPACE, E_REFUSED, E_SIGNATURE
 */
export async function bundle(options: BundleOptions, context: Context): Promise<Report> {
  if (options.base === undefined && (options.baseKeys ?? []).length > 0)
    throw new MirrorError('E_USAGE', '`--base-key` says who signed a base, and there is none', {
      hint: 'add `--base RECEIPT`, or leave `--base-key` out',
    });
  const key = await openSigning(options, context);
  const tool = await readTool(context);
  const { nodes, files: nodeFiles } = await readNodes(options.withNode ?? [], context);
  const carried = [...tool, ...nodeFiles];
  const base = options.base === undefined ? undefined : await readBase(options.base, options.baseKeys ?? [], context);
  const store = context.path(options.store);
  await context.lockForReading(store);
  const { name, contents, left, plans, bytes, inventoryBytes } = await planBundle(store, base, options, context);
  const directories = [options.out, ...(options.moreOut ?? [])].map((out) => join(context.path(out), name));
  await checkDirectories(directories, store);
  for (const directory of directories)
    await onMedium(directory, async () => {
      await context.lock(directory, join(directory, '..', `.${name}.lock`));
      await ensureWritable(directory);
    });
  const journal = await openJournal(store, directories[0] ?? '', plans);
  if (!journal)
    context.report({ type: 'note', text: `\`${store}\` cannot be written to: a broken run will begin anew` });
  const there = await volumesThere(directories, journal);
  const besides = carried.reduce((sum, { content }) => sum + content.size, inventoryBytes);
  const media = await chooseMedia(directories, plans, { mediumSize: options.mediumSize, besides, there }).catch(
    async (error: unknown) => {
      if (there.size === 0) await journal?.remove();
      throw error;
    },
  );
  if (journal) await forgetLacking(journal, plans, (volume) => there.get(volume) === media.get(volume));
  for (const directory of directories) {
    const done = (journal?.done ?? []).map(({ volume }) => volume.name);
    const kept = new Set(done.filter((volume) => media.get(volume) === directory));
    await onMedium(directory, async () => clearDirectory(directory, name, kept));
  }
  const pathOf = (volume: string): string => join(media.get(volume) ?? '', volume);
  context.report({ type: 'stage', text: `writing ${plural(plans.length, 'volume')} to ${directories.join(', ')}` });
  context.report({ type: 'total', bytes });
  const written = await writeVolumes(pathOf, plans, contents.store, {
    report: context.report,
    signal: context.signal,
    journal,
    atOnce: await volumesAtOnce(directories, options.volumesAtOnce, context.threads),
  });
  // What a verifier would refuse must not leave.
  const inventory = checkInventory(makeInventory(name, contents, written, base && left && { base, left }));
  await seal(directories, { inventory, carried, nodes, media }, key, context.signal);
  await journal?.remove();
  return summarise(directories, inventory, key);
}

/** What a store brings into a bundle, without the lists of its files and links: the volumes have them. */
type Planned = Omit<StoreContents, 'files' | 'links'>;

interface BundlePlan {
  name: string;
  contents: Planned;
  left: LeftOut | undefined;
  plans: VolumePlan[];
  /** Of all files. */
  bytes: number;
  /** About: what an inventory says of a file, a link and so on has a usual length. */
  inventoryBytes: number;
}

/** @throws E_NOT_FOUND, E_CORRUPT, E_MISSING, E_REFUSED, E_USAGE */
async function planBundle(
  store: string,
  base: Base | undefined,
  options: BundleOptions,
  context: Context,
): Promise<BundlePlan> {
  const contents = await readStore(store);
  refuseTwins(contents);
  warnOfNames(contents, context.report);
  const left = base && (await leaveOut(contents, base, context));
  const name = checkName(options.name ?? contents.lock?.name ?? defaultName);
  const plans = planVolumes(name, entriesOf(contents), options.volumeSize ?? defaultVolumeSize);
  const { files, links, ...planned } = contents;
  const ofModels = planned.models.reduce((sum, model) => sum + model.files.length, 0);
  return {
    name,
    contents: planned,
    left,
    plans,
    bytes: totalSize(files),
    inventoryBytes: 270 * files.length + 220 * (links.length + (left?.held.length ?? 0)) + 180 * ofModels,
  };
}

/** @throws E_MEDIUM for one that is gone or worn out */
async function onMedium(directory: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    throw writeError(error, directory);
  });
}

function makeInventory(
  name: string,
  contents: Planned,
  volumes: WrittenVolumes,
  delta: { base: Base; left: LeftOut } | undefined,
): Inventory {
  const written = new FileDigests(volumes.blobs);
  const place = (path: string): Pick<BundleBlob, 'digest' | 'size'> => {
    const found = written.get(path) ?? delta?.left.paths.get(path);
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

/** What an artifact is; images say nothing of the kind. */
function kindOf({ artifactType }: ManifestDocument): string | undefined {
  return /\.image\.(?:config\.)?v1\+json$/.test(artifactType ?? '') ? undefined : artifactType;
}

function summarise(directories: readonly string[], inventory: Inventory, key: SigningKey | undefined): Report {
  const bytes = totalSize(inventory.volumes);
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
    `${directories.join(', ')}: ${plural(models, 'model')}, ${plural(inventory.items.length - models, 'image')}, ${formatBytes(bytes)} in ${plural(inventory.volumes.length, 'volume')}; check it with \`sie-mirror verify ${directories.join(' --from ')}${key ? ' --key PUBLIC_KEY' : ''}\``,
  ];
  return makeReport('bundle', items, { volumes: inventory.volumes.length, bytes, items: inventory.items.length }, [
    ...summary,
  ]);
}
