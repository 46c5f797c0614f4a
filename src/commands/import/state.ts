import { DigestList } from '../../bundle/lists/digest-list.ts';
import { type NewReceipt, parseLongReceipt, type ReceivedObject, receiptPrefix } from '../../bundle/records/receipt.ts';
import { signatureNames } from '../../bundle/proof/seal.ts';
import { TextMap } from '../../bundle/lists/text-map.ts';
import { type Digest, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import type { ObjectBytes, ObjectState, ObjectStore } from '../../core/ports.ts';
import { readAll, sha256Of } from '../../core/stream.ts';

/** An object as it should be. */
export interface WantedObject extends ObjectBytes {
  key: string;
}

/** Something in the target of the models that should not be there. */
export interface Surplus {
  /** `former` was put there by an import before, `leftover` disturbs those who read. */
  kind: 'former' | 'leftover';
  key: string;
  size: number;
  /** What it is, in a few words. */
  text: string;
  /** Takes it away, or makes it right; undefined when nothing is to be done, or the import does it. */
  mend?: () => Promise<void>;
}

/** How much is going to be looked for: each folder by itself is a listing. */
export interface Looks {
  folders: number;
  objects: number;
}

/** A receipt that lies in the target. */
export interface StoredReceipt {
  /** Of its text. */
  digest: Digest;
  size: number;
  /** Undefined when it cannot be read as one. */
  receipt: NewReceipt | undefined;
  signed: boolean;
}

const receiptLimit = 256 * 1024 * 1024;
/** Receipts, their signatures and the like. */
const besides = 100;

/**
 * What the target of the models holds. One listing of all, or one per folder, says what is there and in which version;
 * of a version that a receipt in the target names, the digest is known. Whatever else is there is asked for, or read.
 */
export class TargetState {
  readonly store: ObjectStore;
  /** The receipts that the target holds, by key. */
  readonly receipts = new Map<string, StoredReceipt>();
  readonly #reads: boolean;
  readonly #known = new KnownVersions();
  /** By folder, where all has been listed at once. */
  #all: ReadonlyMap<string, Map<string, ObjectState>> | undefined;
  readonly #folders = new Map<string, Promise<Map<string, ObjectState>>>();

  private constructor(store: ObjectStore, reads: boolean) {
    this.store = store;
    this.#reads = reads;
  }

  /**
   * @param looks what is going to be looked for
   * @param reads believe nothing but the bytes themselves
   */
  static async open(store: ObjectStore, looks: Looks, reads = false): Promise<TargetState> {
    const state = new TargetState(store, reads);
    await state.#listAll(looks);
    const there = new Map<string, number>();
    for (const { key, size } of (await state.beside(`${receiptPrefix}/`)).values()) there.set(key, size);
    for (const [key, size] of there)
      if (key.endsWith('.receipt.json') && size <= receiptLimit)
        await state.#learn(key, size, there.has(signatureNames(key).signature));
    return state;
  }

  /** What is there, when it is what it should be. */
  async find({ key, digest, size }: WantedObject): Promise<ObjectState | undefined> {
    const listed = (await this.beside(key)).get(key);
    if (listed?.size !== size) return undefined;
    const found = await this.#digest(listed);
    return found === digest ? { ...listed, digest } : undefined;
  }

  /** What lies in the same folder as `key`, by key: one listing for all that ask. */
  async beside(key: string): Promise<ReadonlyMap<string, ObjectState>> {
    const name = folderOf(key);
    if (this.#all) return this.#all.get(name) ?? new Map<string, ObjectState>();
    const known = this.#folders.get(name) ?? this.#list(name);
    this.#folders.set(name, known);
    return known;
  }

  /** Whether a receipt names this very version of it. */
  isKnown(listed: ObjectState): boolean {
    return this.#known.get(listed) !== undefined;
  }

  async #digest(listed: ObjectState): Promise<Digest | undefined> {
    if (this.#reads) return this.#read(listed.key);
    return this.#known.get(listed) ?? (await this.store.head(listed.key))?.digest;
  }

  async #read(key: string): Promise<Digest | undefined> {
    const content = await this.store.get(key);
    return content && sha256Of(content.open(0));
  }

  /** Lists all at once where that costs no more requests than a listing of each folder. */
  async #listAll({ folders, objects }: Looks): Promise<void> {
    const { pageSize } = this.store;
    if (pageSize === undefined) return;
    const limit = pageSize * Math.min(folders, Math.ceil((objects + besides) / pageSize));
    const all = new Map<string, Map<string, ObjectState>>();
    let count = 0;
    for await (const state of this.store.list('')) {
      // So much is there that nobody knows where it ends.
      if (++count === limit) return;
      const name = folderOf(state.key);
      all.set(name, (all.get(name) ?? new Map<string, ObjectState>()).set(state.key, state));
    }
    this.#all = all;
  }

  async #list(prefix: string): Promise<Map<string, ObjectState>> {
    const found = new Map<string, ObjectState>();
    for await (const state of this.store.list(prefix)) found.set(state.key, state);
    return found;
  }

  /** A receipt that cannot be read costs requests, nothing else. */
  async #learn(key: string, size: number, signed: boolean): Promise<void> {
    const bytes = await readAll(this.store.content(key, size).open(0), receiptLimit, key);
    const receipt = receiptIn(bytes, key);
    this.receipts.set(key, { digest: sha256(bytes), size, receipt, signed });
    for (const { objects } of receipt?.models ?? []) for (const object of objects) this.#known.add(object);
  }
}

/** What receipts say of versions of objects, of which there may be very many. */
class KnownVersions {
  readonly #indexes = new TextMap();
  readonly #digests = new DigestList();

  add(object: ReceivedObject): void {
    if (object.version === undefined || !object.digest.startsWith('sha256:')) return;
    this.#indexes.set(versionKey(object), this.#digests.length);
    this.#digests.push(object.digest);
  }

  get(listed: ObjectState): Digest | undefined {
    const index = listed.version === undefined ? undefined : this.#indexes.get(versionKey(listed));
    return index === undefined ? undefined : this.#digests.at(index);
  }
}

/** Names one version of an object. */
function versionKey({ key, size, version }: ObjectState): string {
  return JSON.stringify([key, size, version]);
}

/** What a listing has to begin with that shows it. */
export function folderOf(key: string): string {
  return key.slice(0, key.indexOf('/') + 1) || key;
}

function receiptIn(bytes: Buffer, key: string): NewReceipt | undefined {
  try {
    return parseLongReceipt([bytes], key);
  } catch (error) {
    if (error instanceof MirrorError) return undefined;
    throw error;
  }
}
