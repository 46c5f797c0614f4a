import type { BundleBlob, ModelItem } from '../../bundle/records/inventory.ts';
import { inTurn, type LongList, packed, PackedList } from '../../bundle/lists/long-list.ts';
import type { ReceivedObject } from '../../bundle/records/receipt.ts';
import { sortedList } from '../../bundle/lists/sorted-list.ts';
import { totalSize } from '../../core/descriptor.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { forEachOfMany } from '../../core/limit.ts';
import { contentOf, counted } from '../../core/stream.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import { attempt } from '../attempt.ts';
import { nameOf } from '../bundle/item.ts';
import type { Context } from '../context.ts';
import { ObjectKeys } from './object-keys.ts';
import { type ModelObject, type ModelSource, placeObjects } from './placed-object.ts';
import { type ImportRun, noteBrought } from './run.ts';
import type { TargetState, WantedObject } from './state.ts';

/**
 * How a model lies in its target: for SIE's reader, as a whole copy of a Hugging Face cache, or as plain files in
 * `ORG/NAME/` for vLLM, KServe, LLMKube and NIM.
 */
export type HubLayout = 'sie' | 'full' | 'plain';

/** Where a model lies, below its target. */
function modelFolder(repo: string, layout: HubLayout): string {
  return layout === 'plain' ? repo : repoFolder(repo);
}

/** An object by its name below the folder of its model. */
type NamedObject = Omit<WantedObject, 'key'> & { name: string };

/** Files, then the list of them, then the refs that lead to them; a plain layout has files only. */
export function objectsOf(item: ModelItem, reader: ModelSource, layout: HubLayout): LongList<ModelObject>[] {
  const folder = modelFolder(item.repo, layout);
  const { base } = reader.inventory;
  const held = new Map((base?.held ?? []).map(({ digest, key }) => [digest, key]));
  const stored = (named: Iterable<NamedObject>): LongList<ModelObject> =>
    placeObjects(
      packed(named, ({ name, digest, size }) => ({ key: `${folder}/${name}`, digest, size })),
      reader,
      held,
    );
  const commit = Buffer.from(item.commit);
  const refs = refsOf(item, layout).map(({ name, ...rest }) => ({
    key: `${folder}/${name}`,
    ...rest,
    from: contentOf(commit),
  }));
  return [stored(filesOf(item, reader, layout)), stored(treesOf(item, layout)), refs];
}

/** The keys of every object that the bundle puts into a target of this layout. */
export function keysOf(reader: ModelSource, layout: HubLayout): ObjectKeys {
  return new ObjectKeys(allKeys(reader, layout));
}

/** There may be very many, and nothing else is made for each of them. */
function* allKeys(reader: ModelSource, layout: HubLayout): Generator<string> {
  for (const item of reader.inventory.items) {
    if (item.kind !== 'model') continue;
    const folder = modelFolder(item.repo, layout);
    for (const { name } of filesOf(item, reader, layout)) yield `${folder}/${name}`;
    for (const { key } of headsOf(item, layout)) yield key;
  }
}

/** What makes a model visible: the list of its files, and its refs. */
export function headsOf(item: ModelItem, layout: HubLayout): WantedObject[] {
  const folder = modelFolder(item.repo, layout);
  const heads = [...treesOf(item, layout), ...refsOf(item, layout)];
  return heads.map(({ name, digest, size }) => ({ key: `${folder}/${name}`, digest, size }));
}

function* filesOf(item: ModelItem, reader: ModelSource, layout: HubLayout): Generator<NamedObject> {
  if (layout === 'full') yield* blobsOf(item, reader);
  const folder = layout === 'plain' ? '' : `snapshots/${item.commit}/`;
  for (const { path, digest, size } of item.files) yield { name: `${folder}${path}`, digest, size };
}

function treesOf({ commit, tree }: ModelItem, layout: HubLayout): NamedObject[] {
  return layout === 'plain' ? [] : [{ name: `trees/${commit}.json`, ...tree }];
}

function refsOf({ commit, refs }: ModelItem, layout: HubLayout): NamedObject[] {
  const bytes = Buffer.from(commit);
  const names = layout === 'plain' ? [] : refs;
  return names.map((name) => ({ name: `refs/${name}`, digest: sha256(bytes), size: bytes.length }));
}

/** The files of a model once more, by the names that a cache has for them. */
function blobsOf(item: ModelItem, reader: ModelSource): NamedObject[] {
  const prefix = `hub/${repoFolder(item.repo)}/blobs/`;
  const own = new Set(item.files.map(({ digest }) => digest));
  return reader.inventory.blobs
    .filter(({ path, digest }) => path.startsWith(prefix) && own.has(digest))
    .map(({ path, digest, size }) => ({ name: `blobs/${path.slice(prefix.length)}`, digest, size }));
}

/** The same, or of the files only those of `keys`. */
export function stagesOf(
  item: ModelItem,
  reader: ModelSource,
  layout: HubLayout,
  keys: ReadonlySet<string> | undefined,
): LongList<ModelObject>[] {
  const stages = objectsOf(item, reader, layout);
  return keys ? [(stages[0] ?? []).filter(({ key }) => keys.has(key))] : stages;
}

/** @param keys of the files of one machine of several; it makes no model visible */
export async function importModels(
  run: ImportRun<ModelSource>,
  target: TargetState,
  layout: HubLayout,
  keys?: ReadonlySet<string>,
): Promise<void> {
  const { reader, items, receipt, media, context } = run;
  const { store } = target;
  const models = reader.inventory.items.filter((item) => item.kind === 'model');
  for (const item of models) {
    const name = nameOf(item);
    const stages = stagesOf(item, reader, layout, keys);
    if (stages.every(({ length }) => length === 0)) continue;
    context.report({ type: 'stage', text: `importing ${name} to ${store.name}` });
    await attempt(items, 'model', name, async () => {
      context.report({ type: 'total', bytes: totalSize(inTurn(stages)) });
      const [files = [], trees = [], refs = []] = stages;
      const put = await putObjects(files, target, context);
      // A list of files that are not all there yet makes loaders say so, where a part of a model would be taken for it.
      const listed = await putObjects(trees, target, context);
      const [broken] = [...put.broken, ...listed.broken];
      if (broken) throw broken;
      media.refuse([...put.lacking, ...listed.lacking], name, reader);
      const heads = await putObjects(refs, target, context);
      const moved = put.moved + listed.moved + heads.moved;
      receipt.models.push({
        repo: item.repo,
        commit: item.commit,
        objects: sortedList(inTurn([put.there, listed.there, heads.there]), ({ key }) => key),
      });
      const place = `${store.name}/${modelFolder(item.repo, layout)}`;
      noteBrought(run, { kind: 'model', name, target: place, bytes: moved });
    });
  }
}

/** What became of some objects. */
interface PutResult {
  /** Bytes. */
  moved: number;
  /** What is neither here nor there. */
  lacking: BundleBlob[];
  /** What a medium does not give: the others are brought all the same. */
  broken: MirrorError[];
  /** What the target holds now. */
  there: PackedList<ReceivedObject>;
}

/** Puts what is here and not there yet. */
export async function putObjects(
  objects: LongList<ModelObject>,
  target: TargetState,
  context: Context,
): Promise<PutResult> {
  const { store } = target;
  const result: PutResult = { moved: 0, lacking: [], broken: [], there: new PackedList() };
  const note = ({ key, digest, size }: ModelObject, version: string | undefined): void => {
    result.there.push({ key, digest, size, ...(version === undefined ? {} : { version }) });
  };
  const count = (bytes: number): void => context.report({ type: 'bytes', bytes });
  await forEachOfMany(objects, context.slots, async (object) => {
    const { key, size, from } = object;
    context.signal.throwIfAborted();
    const found = await target.find(object);
    if (found) {
      count(size);
      note(object, found.version);
      return;
    }
    if ('blob' in from) {
      result.lacking.push(from.blob);
      return;
    }
    if ('key' in from) {
      await store.copy(from.key, key, size, context.signal);
      count(size);
      note(object, undefined);
      return;
    }
    try {
      const { version } = await store.put(key, counted(from, count), object, context.signal);
      note(object, version);
      result.moved += size;
    } catch (error) {
      if (!(error instanceof MirrorError) || error.code !== 'E_MEDIUM') throw error;
      result.broken.push(error);
    }
  });
  return result;
}
