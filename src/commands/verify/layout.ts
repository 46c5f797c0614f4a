import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, digestHex } from '../../core/digest.ts';
import { endsRun, MirrorError, toMirrorError } from '../../core/errors.ts';
import { Check, expectationOf } from '../../core/stream.ts';
import type { HashPool } from '../../fs/hash-pool.ts';
import { fileContent } from '../../fs/read.ts';
import { directoryTree } from '../../fs/tree.ts';
import type { LockedImage } from '../../manifest/schema.ts';
import { checkImage } from '../../oci/check-image.ts';
import { blobPath, OciLayout } from '../../oci/layout/layout.ts';
import { bare, namesOf, splitName } from '../../oci/layout/index-file.ts';
import { isDigestTag } from '../../oci/reference.ts';
import type { Context } from '../context.ts';
import { type Checked, type Flaw, problemOf } from './place-verdict.ts';

/** The images of a store: what its `index.json` lists, and the lock names. */
export class StoredImages {
  /** That were read. */
  bytes = 0;
  /** What is wrong with the layout itself. */
  readonly flaws: Flaw[] = [];
  /** Names of images that the lock does not know. */
  readonly unlocked: string[] = [];
  readonly #store: string;
  readonly #pool: HashPool;
  readonly #context: Context;
  readonly #layout: OciLayout;
  /** Images share layers; each is read once. */
  readonly #proven = new Map<Digest, Promise<void>>();

  constructor(store: string, pool: HashPool, context: Context) {
    this.#store = store;
    this.#pool = pool;
    this.#context = context;
    this.#layout = new OciLayout(directoryTree(join(store, 'oci')), join(store, 'oci'));
  }

  /** Without an index nothing can be said of any image: that is a flaw of the layout, and takes all of the lock's away. */
  async check(locked: readonly LockedImage[]): Promise<Checked[]> {
    const entries = await this.#entries();
    if (!entries) return locked.map((image) => ({ item: lockedItem(image), flaws: this.flaws }));
    const named = new Set(entries.flatMap(namesOf));
    const absent = locked.filter(({ reference }) => !named.has(reference));
    const checked: Checked[] = absent.map((image) => ({ item: lockedItem(image), flaws: [this.#absent(image)] }));
    for (const entry of entries) {
      const [name] = namesOf(entry);
      const image = locked.find(({ reference }) => namesOf(entry).includes(reference));
      // What has no name, or is named after a digest, refers to something that has a name of its own.
      if (!image && name !== undefined && !isDigestTag(splitName(name).reference)) this.unlocked.push(name);
      checked.push(await this.#checkEntry(name ?? entry.digest, bare(entry), image));
    }
    return checked;
  }

  /** Undefined when they cannot be read. */
  async #entries(): Promise<Awaited<ReturnType<OciLayout['index']>>['manifests'] | undefined> {
    const isThere = await stat(join(this.#store, 'oci')).then(
      () => true,
      () => false,
    );
    if (!isThere) return [];
    try {
      return (await this.#layout.index()).manifests;
    } catch (error) {
      const known = toMirrorError(error);
      if (endsRun(known)) throw known;
      const hint = `copy the store again, or move \`${join(this.#store, 'oci')}\` away and run the \`pull\` again that made it`;
      const at = { side: 'source', item: 'oci' } as const;
      const wrong = new MirrorError(known.code, known.message, { hint, at, cause: known });
      this.flaws.push({ kind: 'file', name: 'oci', part: 'oci', problem: problemOf(known), error: wrong });
      return undefined;
    }
  }

  async #checkEntry(name: string, root: Descriptor, image: LockedImage | undefined): Promise<Checked> {
    const { found, checked, bytes } = await this.#checkContent(root);
    const isOther = image !== undefined && image.root.digest !== root.digest;
    return {
      item: {
        kind: 'image',
        name,
        state: 'done',
        digest: root.digest,
        bytes,
        detail: { mediaType: root.mediaType, blobs: checked, locked: image !== undefined },
      },
      flaws: isOther ? [this.#other(image, root), ...found] : found,
    };
  }

  async #checkContent(root: Descriptor): Promise<{ found: Flaw[]; checked: number; bytes: number }> {
    const { signal, slots } = this.#context;
    try {
      const { flaws, checked, bytes } = await checkImage(this.#layout.view(''), root, {
        prove: async (blob) => this.#once(blob),
        slots,
        onTotal: (total) => this.#context.report({ type: 'total', bytes: total }),
        signal,
      });
      return { found: flaws.map(({ digest, error }) => this.#flaw(digest, error)), checked, bytes };
    } catch (error) {
      // One image of which something cannot be read says nothing of the others.
      const known = toMirrorError(error);
      if (endsRun(known)) throw known;
      return { found: [this.#flaw(root.digest, known)], checked: 0, bytes: 0 };
    }
  }

  async #once(blob: Descriptor): Promise<void> {
    const known = this.#proven.get(blob.digest) ?? this.#prove(blob);
    this.#proven.set(blob.digest, known);
    return known;
  }

  async #prove({ digest, size }: Descriptor): Promise<void> {
    const path = join(this.#store, 'oci', blobPath(digest));
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) throw new MirrorError('E_NOT_FOUND', `\`${digest}\` is missing`);
    if (found.size !== size)
      throw new MirrorError('E_SIZE_MISMATCH', `\`${digest}\` has ${found.size} bytes, ${size} were wanted`);
    this.bytes += size;
    const extent = { path, offset: 0, size };
    if (digest.startsWith('sha256:')) {
      const hex = await this.#pool.sha256([extent]);
      if (hex !== digestHex(digest))
        throw new MirrorError('E_DIGEST_MISMATCH', `\`${digest}\` has digest \`sha256:${hex}\``);
      return;
    }
    const check = new Check(expectationOf({ digest, size }));
    for await (const chunk of fileContent([extent]).open(0, this.#context.signal)) check.update(chunk);
    check.finish();
  }

  #flaw(digest: Digest, error: MirrorError): Flaw {
    const path = `oci/${blobPath(digest)}`;
    const remove = error.code === 'E_MISSING' ? '' : `remove \`${join(this.#store, path)}\`, then `;
    const isRead = error.exit === 4;
    const hint = isRead
      ? `${remove}run the \`pull\` or \`copy\` again that brought it`
      : 'see that what is named can be read here, and run the same command again';
    return {
      kind: 'blob',
      name: path,
      part: digest,
      problem: problemOf(error),
      error: new MirrorError(error.code, error.message, { hint, at: { side: 'source', item: path }, cause: error }),
    };
  }

  #absent({ reference, root }: LockedImage): Flaw {
    return this.#named(reference, 'missing', 'E_MISSING', `\`${reference}\` (\`${root.digest}\`) is not in the store`);
  }

  #other({ reference, root }: LockedImage, found: Descriptor): Flaw {
    const text = `\`${reference}\` is \`${found.digest}\`, the lock says \`${root.digest}\``;
    return this.#named(reference, 'corrupt', 'E_DIGEST_MISMATCH', text);
  }

  #named(name: string, problem: Flaw['problem'], code: 'E_MISSING' | 'E_DIGEST_MISMATCH', text: string): Flaw {
    const hint = 'run the `pull` again that made the lock';
    return {
      kind: 'blob',
      name,
      part: name,
      problem,
      error: new MirrorError(code, text, { hint, at: { side: 'source', item: name } }),
    };
  }
}

function lockedItem({ reference, root, bytes }: LockedImage): Checked['item'] {
  return { kind: 'image', name: reference, state: 'done', digest: root.digest, bytes, detail: { locked: true } };
}
