import { totalSize } from '../../core/descriptor.ts';
import type { ReceivedObject } from '../../bundle/records/receipt.ts';
import { type Checksum, checksumOf, type Digest, digestHex } from '../../core/digest.ts';
import { type ErrorCode, MirrorError, toMirrorError } from '../../core/errors.ts';
import { forEachBySize } from '../../core/limit.ts';
import type { ObjectState, ObjectStore } from '../../core/ports.ts';
import type { StreamHash } from '../../fs/stream-hash.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import type { Context } from '../context.ts';
import { type Checked, type Flaw, problemOf } from './place-verdict.ts';
import type { KnownReceipt } from './zone-receipts.ts';

/** Reads an object once, to its end. */
export type ObjectHash = (key: string, size: number, algorithm: Checksum['algorithm']) => Promise<StreamHash>;

/** A model as a receipt has it. */
interface ZoneModel {
  repo: string;
  commit: string;
  objects: readonly ReceivedObject[];
  /** Where its objects are: nothing else is to be there. */
  folder: string;
  /** The next thing to type when something of it is wrong. */
  hint: string;
}

/** The models of a bucket, or of a directory, against the receipts of what was imported there. */
export class StoredModels {
  /** That were read. */
  bytes = 0;
  /** Of what was found beside the receipts: folders of models that none of them speaks of. */
  readonly unknown = new Set<string>();
  /** Refs of a model that lead where another receipt says, and not to it. */
  readonly moved: string[] = [];
  readonly #store: ObjectStore;
  readonly #models: ZoneModel[];
  readonly #others: ReadonlySet<string>;
  readonly #hash: ObjectHash;
  readonly #context: Context;
  readonly #listed = new Map<string, ObjectState>();
  /** What was found under each key, once for all receipts that name it. */
  readonly #found = new Map<string, Digest>();
  readonly #flaws = new Map<string, Flaw>();
  #unreadable = 0;

  /** @param others receipts that lie there and were not asked for: what they name beside these models is none too many */
  constructor(
    store: ObjectStore,
    receipts: readonly KnownReceipt[],
    others: readonly KnownReceipt[],
    hash: ObjectHash,
    context: Context,
  ) {
    this.#store = store;
    this.#models = receipts.flatMap(({ receipt }) => {
      const hint = `sie-mirror import ${receipt.bundle.name} --models ${store.name} --verify`;
      return receipt.models.map((model) => ({ ...model, folder: folderOf(model.repo, model.objects), hint }));
    });
    this.#others = keysOf(others);
    this.#hash = hash;
    this.#context = context;
  }

  /** @throws what says nothing of the content, of the first request: no access, no bucket, no connection */
  async check(): Promise<{ models: Checked[]; extra: Flaw[] }> {
    for (const prefix of this.#prefixes())
      for await (const state of this.#store.list(prefix)) this.#listed.set(state.key, state);
    const wanted = new Map<string, ReceivedObject[]>();
    for (const object of this.#models.flatMap(({ objects }) => objects))
      wanted.set(object.key, [...(wanted.get(object.key) ?? []), object]);
    const present: ObjectState[] = [];
    for (const [key, objects] of wanted) {
      const state = this.#listed.get(key);
      if (!state) this.#note(key, 'E_MISSING', `\`${key}\` is missing`);
      else if (objects.some(({ size }) => size === state.size)) present.push(state);
      else
        this.#note(key, 'E_SIZE_MISMATCH', `\`${key}\` has ${state.size} bytes, the receipt says ${sizesOf(objects)}`);
    }
    this.bytes = totalSize(present);
    this.#context.report({ type: 'total', bytes: this.bytes });
    await forEachBySize(present, this.#context.slots, async (state) => this.#read(state, wanted.get(state.key) ?? []));
    const extra = this.#extra(wanted);
    return { models: this.#models.map((model) => this.#judge(model, extra)), extra };
  }

  /** Folders of a cache all begin alike: one listing has them all. */
  #prefixes(): string[] {
    return [...new Set(this.#models.map(({ folder }) => (folder.startsWith(cachePrefix) ? cachePrefix : folder)))];
  }

  async #read({ key, size }: ObjectState, objects: readonly ReceivedObject[]): Promise<void> {
    this.#context.signal.throwIfAborted();
    const [first] = objects;
    if (!first) return;
    try {
      const { algorithm } = checksumOf(first.digest);
      const { hex, size: came } = await this.#hash(key, size, algorithm);
      if (came !== size) this.#note(key, 'E_SIZE_MISMATCH', `\`${key}\` gave ${came} bytes, ${size} were listed`);
      const match = objects.find(({ digest }) => digestHex(digest) === hex);
      if (match) this.#found.set(key, match.digest);
      else {
        const digests = [...new Set(objects.map(({ digest }) => `\`${digest}\``))].join(' or ');
        this.#note(
          key,
          'E_DIGEST_MISMATCH',
          `\`${key}\` has digest \`${algorithm}:${hex}\`, the receipt says ${digests}`,
        );
      }
    } catch (error) {
      const known = toMirrorError(error);
      if (known.code === 'E_NOT_FOUND') {
        this.#note(key, 'E_MISSING', `\`${key}\` is missing`);
        return;
      }
      if (known.exit !== 4) this.#unreadable += 1;
      // One object that cannot be read is a finding; when it goes on so, it is the store.
      if (hopeless.has(known.code) || this.#unreadable > maxUnreadable) throw known;
      this.#flaws.set(key, flawOf(key, known));
    }
  }

  #note(key: string, code: 'E_MISSING' | 'E_SIZE_MISMATCH' | 'E_DIGEST_MISMATCH', text: string): void {
    const hint = this.#models.find(({ objects }) => objects.some((object) => object.key === key))?.hint;
    const at = { side: 'target', item: `${this.#store.name}/${key}` } as const;
    this.#flaws.set(key, flawOf(key, new MirrorError(code, text, { at, ...(hint === undefined ? {} : { hint }) })));
  }

  #judge({ repo, commit, objects, folder }: ZoneModel, extra: readonly Flaw[]): Checked {
    const flaws = [
      ...objects.flatMap(({ key }) => this.#flaws.get(key) ?? []),
      ...extra.filter(({ name }) => name.startsWith(readOf({ folder, commit }))),
    ].map((flaw) => ({ ...flaw, part: flaw.name.slice(folder.length) }));
    // Another import to the same place may have moved a ref on; content that it replaced is gone.
    const others = objects.filter(({ key, digest }) => (this.#found.get(key) ?? digest) !== digest);
    const isReplaced = others.some(({ key }) => !isRef(key));
    for (const { key } of others.filter((object) => isRef(object.key)))
      this.moved.push(`${key} leads where another receipt says, and not to ${repo}@${commit}`);
    return {
      item: {
        kind: 'model',
        name: `${repo}@${commit}`,
        state: isReplaced ? 'skipped' : 'done',
        bytes: totalSize(objects),
        detail: { repo, commit, objects: objects.length, ...(isReplaced ? { replaced: true } : {}) },
      },
      flaws,
    };
  }

  /** What lies in a folder of these models, and no receipt names. */
  #extra(wanted: ReadonlyMap<string, unknown>): Flaw[] {
    const folders = this.#models.map(({ folder }) => folder);
    const read = [...new Set(this.#models.map(readOf))];
    const extra: Flaw[] = [];
    for (const key of this.#listed.keys()) {
      if (wanted.has(key)) continue;
      // Who may write an object may write a receipt beside it that names it: that excuses nothing which a loader reads.
      if (this.#others.has(key) && !read.some((each) => key.startsWith(each))) continue;
      if (!folders.some((folder) => key.startsWith(folder))) {
        this.unknown.add(key.slice(0, key.indexOf('/')));
        continue;
      }
      const name = `${this.#store.name}/${key}`;
      const error = new MirrorError('E_CORRUPT', `\`${key}\` is there, and no receipt names it`, {
        hint: `remove ${name}`,
        at: { side: 'target', item: name },
      });
      extra.push({ kind: 'object', name: key, part: key, problem: 'extra', error });
    }
    return extra;
  }
}

const cachePrefix = 'models--';
const maxUnreadable = 8;
const hopeless: ReadonlySet<ErrorCode> = new Set(['E_ABORTED', 'E_AUTH', 'E_INTERNAL', 'E_TLS']);

/** The layout of a target is not written down; its keys say which one it is. */
function folderOf(repo: string, objects: readonly ReceivedObject[]): string {
  const cache = `${repoFolder(repo)}/`;
  return objects.some(({ key }) => key.startsWith(cache)) ? cache : `${repo}/`;
}

/** What a loader reads of a model; beside that, an object too many does no harm to it. */
function readOf({ folder, commit }: Pick<ZoneModel, 'folder' | 'commit'>): string {
  return folder.startsWith(cachePrefix) ? `${folder}snapshots/${commit}/` : folder;
}

function keysOf(receipts: readonly KnownReceipt[]): Set<string> {
  return new Set(
    receipts.flatMap(({ receipt }) => receipt.models.flatMap(({ objects }) => objects.map(({ key }) => key))),
  );
}

function isRef(key: string): boolean {
  return key.includes('/refs/');
}

function sizesOf(objects: readonly ReceivedObject[]): string {
  return [...new Set(objects.map(({ size }) => String(size)))].join(' or ');
}

function flawOf(key: string, error: MirrorError): Flaw {
  return { kind: 'object', name: key, part: key, problem: problemOf(error), error };
}
