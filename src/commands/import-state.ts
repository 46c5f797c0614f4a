import { createHash } from 'node:crypto';
import { parseReceipt, receiptPrefix } from '../bundle/receipt.ts';
import type { Digest } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { ObjectState, ObjectStore } from '../core/ports.ts';
import { readAll } from '../core/stream.ts';

/** An object as it should be. */
export interface WantedObject {
  key: string;
  digest: Digest;
  size: number;
}

const receiptLimit = 256 * 1024 * 1024;

/**
 * What the target of the models holds. One listing per folder says what is there and in which version; of a version
 * that a receipt in the target names, the digest is known. Whatever else is there is asked for, or read.
 */
export class TargetState {
  readonly store: ObjectStore;
  /** Texts of the receipts that the target holds, by key. */
  readonly receipts = new Map<string, string>();
  readonly #reads: boolean;
  readonly #known = new Map<string, Digest>();
  readonly #folders = new Map<string, Promise<Map<string, ObjectState>>>();

  private constructor(store: ObjectStore, reads: boolean) {
    this.store = store;
    this.#reads = reads;
  }

  /** @param reads believe nothing but the bytes themselves */
  static async open(store: ObjectStore, reads = false): Promise<TargetState> {
    const state = new TargetState(store, reads);
    for await (const { key } of store.list(`${receiptPrefix}/`))
      if (key.endsWith('.receipt.json')) await state.#learn(key);
    return state;
  }

  /** What is there, when it is what it should be. */
  async find({ key, digest, size }: WantedObject): Promise<ObjectState | undefined> {
    const listed = (await this.#folder(key)).get(key);
    if (listed?.size !== size) return undefined;
    const found = await this.#digest(listed);
    return found === digest ? { ...listed, digest } : undefined;
  }

  async #digest(listed: ObjectState): Promise<Digest | undefined> {
    if (this.#reads) return this.#read(listed);
    const { key, size, version } = listed;
    const known = version === undefined ? undefined : this.#known.get(JSON.stringify([key, size, version]));
    return known ?? (await this.store.head(key))?.digest;
  }

  async #read({ key }: ObjectState): Promise<Digest | undefined> {
    const content = await this.store.get(key);
    if (!content) return undefined;
    const hash = createHash('sha256');
    for await (const chunk of content.open(0)) hash.update(chunk);
    return `sha256:${hash.digest('hex')}`;
  }

  async #folder(key: string): Promise<Map<string, ObjectState>> {
    const name = key.slice(0, key.indexOf('/') + 1);
    const known = this.#folders.get(name) ?? this.#list(name);
    this.#folders.set(name, known);
    return known;
  }

  async #list(prefix: string): Promise<Map<string, ObjectState>> {
    const found = new Map<string, ObjectState>();
    for await (const state of this.store.list(prefix)) found.set(state.key, state);
    return found;
  }

  /** A receipt that cannot be read costs requests, nothing else. */
  async #learn(key: string): Promise<void> {
    const content = await this.store.get(key);
    if (!content || content.size > receiptLimit) return;
    const bytes = await readAll(content.open(0), receiptLimit, key);
    this.receipts.set(key, bytes.toString());
    try {
      for (const { objects } of parseReceipt(bytes, key).models)
        for (const { key: object, size, version, digest } of objects)
          if (version !== undefined) this.#known.set(JSON.stringify([object, size, version]), digest);
    } catch (error) {
      if (!(error instanceof MirrorError)) throw error;
    }
  }
}
