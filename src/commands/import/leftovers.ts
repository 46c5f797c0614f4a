import type { ModelItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { sha256 } from '../../core/digest.ts';
import type { ObjectState, ObjectStore } from '../../core/ports.ts';
import { contentOf, metadataLimit, readAll } from '../../core/stream.ts';
import { filesOfTree, isCacheState, isMarker } from '../../doctor/model-layout.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import { headsOf, type HubLayout } from './models.ts';
import type { HasKey } from './object-keys.ts';
import type { Surplus, TargetState } from './state.ts';

/**
 * What is known to break or to slow readers in the folders of the bundle's models: markers of folders, copies below
 * `blobs/`, lists of files that are not those that are there, refs with a line break; and uploads that were broken off.
 * Besides the listings that an import needs anyway, only what no receipt names is read.
 * @param wanted keys of what the bundle puts there
 */
export async function findLeftovers(
  reader: BundleReader,
  wanted: HasKey,
  target: TargetState,
  layout: HubLayout,
): Promise<Surplus[]> {
  if (layout === 'plain') return [];
  const models = reader.inventory.items.filter((item) => item.kind === 'model');
  const found: Surplus[] = [];
  for (const item of models) {
    for (const object of headsOf(item, layout)) {
      const listed = (await target.beside(object.key)).get(object.key);
      if (!listed) continue;
      // Another commit is an update; another size is no commit.
      const isWrong = isMainRef(object.key)
        ? listed.size !== object.size
        : isTree(object.key) && !(await target.find(object));
      if (isWrong) found.push(rewritten(listed));
    }
    const folder = await target.beside(`${repoFolder(item.repo)}/`);
    const look = new FolderLook(item, folder, target, layout);
    for (const listed of folder.values()) if (!wanted.has(listed.key)) found.push(...(await look.judge(listed)));
  }
  for (const { key, size, end } of (await target.store.brokenUploads?.()) ?? [])
    if (!wanted.has(key))
      found.push({ kind: 'leftover', key, size, text: 'an upload of ours that was broken off', mend: end });
  return found;
}

function isMainRef(key: string): boolean {
  return /^[^/]+\/refs\/main$/.test(key);
}

function isTree(key: string): boolean {
  return /^[^/]+\/trees\/[^/]+$/.test(key);
}

function rewritten({ key, size }: ObjectState): Surplus {
  const text = isTree(key) ? 'it lists other files' : `it has ${size} bytes, 40 are wanted`;
  return { kind: 'leftover', key, size, text: `${text}; this import writes it anew` };
}

/** The folder of one model, and what in it is not of the bundle. */
class FolderLook {
  readonly #item: ModelItem;
  readonly #folder: ReadonlyMap<string, ObjectState>;
  readonly #target: TargetState;
  readonly #layout: HubLayout;

  constructor(item: ModelItem, folder: ReadonlyMap<string, ObjectState>, target: TargetState, layout: HubLayout) {
    this.#item = item;
    this.#folder = folder;
    this.#target = target;
    this.#layout = layout;
  }

  async judge(listed: ObjectState): Promise<Surplus[]> {
    const { key, size } = listed;
    const path = key.slice(key.indexOf('/') + 1);
    const { store } = this.#target;
    const remove = (text: string): Surplus[] => [{ kind: 'leftover', key, size, text, mend: () => store.remove(key) }];
    if (isMarker(path)) return remove("a folder marker, which SIE's reader dies of");
    if (isCacheState(path)) return remove('state of a cache');
    if (path.startsWith('blobs/') && this.#layout === 'sie') return remove('workers download it a second time');
    if (path.startsWith(`snapshots/${this.#item.commit}/`))
      return remove(`\`trees/${this.#item.commit}.json\` does not list it`);
    // What an import has put there is as it was made.
    if (this.#target.isKnown(listed)) return [];
    if (path.startsWith('refs/')) return refWithBreak(listed, store);
    const commit = /^trees\/([^/]+)\.json$/.exec(path)?.[1];
    return commit !== undefined && !(await this.#listsSnapshot(listed, commit))
      ? remove(`it does not list exactly what is in \`snapshots/${commit}/\``)
      : [];
  }

  async #listsSnapshot({ key }: ObjectState, commit: string): Promise<boolean> {
    const prefix = `${repoFolder(this.#item.repo)}/snapshots/${commit}/`;
    const there = [...this.#folder.keys()].filter((each) => each.startsWith(prefix) && !isMarker(each));
    const listed = filesOfTree((await textOf(this.#target.store, key)) ?? '');
    return listed?.length === there.length && listed.every((path) => this.#folder.has(`${prefix}${path}`));
  }
}

async function refWithBreak(listed: ObjectState, store: ObjectStore): Promise<Surplus[]> {
  const { key, size } = listed;
  if (size <= 40 || size > 100) return [];
  const text = (await textOf(store, key)) ?? '';
  if (!/^[0-9a-f]{40}\s+$/.test(text)) return [];
  const bytes = Buffer.from(text.trim());
  const mend = async (): Promise<void> => {
    await store.put(key, contentOf(bytes), { digest: sha256(bytes), size: bytes.length });
  };
  return [{ kind: 'leftover', key, size, text: 'it ends with a line break, which readers do not strip', mend }];
}

async function textOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const content = await store.get(key);
  if (!content || content.size > metadataLimit) return undefined;
  return (await readAll(content.open(0), metadataLimit, key)).toString('utf8');
}
