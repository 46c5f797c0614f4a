import type { ReceivedImage, Receipt } from '../../bundle/records/receipt.ts';
import type { Descriptor } from '../../core/descriptor.ts';
import { checksumOf, isDigest } from '../../core/digest.ts';
import { endsRun, MirrorError, toMirrorError } from '../../core/errors.ts';
import type { ContentSource } from '../../core/ports.ts';
import { plural } from '../../core/text.ts';
import type { StreamHashPool } from '../../fs/stream-hash.ts';
import { checkImage, type ImageFlaw } from '../../oci/check-image.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import { resilientSource } from '../../oci/registry/resilient.ts';
import { resolved } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { type Checked, type Flaw, problemOf } from './place-verdict.ts';
import { type ReceivedAt, receivedByPlace } from './received-images.ts';
import type { KnownReceipt } from './zone-receipts.ts';

/** An image as a receipt has it. */
interface ZoneImage extends ReceivedImage {
  place: Reference;
  /** `HOST/REPOSITORY` */
  repository: string;
  /** Tag or digest. */
  wanted: string;
  bundle: string;
}

/** The images of a registry against the receipts of what was imported there. */
export class StoredRepositories {
  /** That were read. */
  bytes = 0;
  /** Lines about what is no fault. */
  readonly notes: string[] = [];
  readonly #registry: string;
  readonly #images: ZoneImage[];
  /** What the receipts have at other places. */
  readonly #others: ReceivedAt[];
  readonly #pool: StreamHashPool;
  readonly #context: Context;
  /** Images of one repository share layers; each is read once. */
  readonly #proven = new Map<string, Promise<void>>();

  /**
   * @param registry `HOST[:PORT][/PREFIX]`, by which the images are reached from here
   * @throws E_CORRUPT for a receipt that names no such place
   */
  constructor(registry: string, receipts: readonly KnownReceipt[], pool: StreamHashPool, context: Context) {
    this.#registry = registry.replace(/\/+$/, '');
    const places = receipts.flatMap(({ receipt }) => receivedByPlace(receipt).map((at) => ({ ...at, receipt })));
    const isNamed = places.some(({ place }) => place === this.#registry);
    // By another name the registry is that of the images.
    const isMeant = ({ place, kind }: ReceivedAt): boolean => (isNamed ? place === this.#registry : kind === 'images');
    const images = places
      .filter(isMeant)
      .flatMap(({ place, images: all, receipt }) => all.map((image) => this.#place(image, place, receipt)));
    this.#others = places.filter((each) => !isMeant(each));
    this.#images = [...new Map(images.map((image) => [`${image.target} ${image.digest}`, image])).values()];
    this.#pool = pool;
    this.#context = context;
  }

  /** @throws what says nothing of the content, of the first request: no access, no connection */
  async check(): Promise<Checked[]> {
    const [first] = this.#images;
    if (first) await resolved(await this.#open(first), first.wanted);
    const checked: Checked[] = [];
    for (const image of this.#images) checked.push(await this.#checkImage(image));
    for (const { place, images } of this.#others) {
      this.notes.push(
        `not looked at: ${plural(images.length, 'image')} of the receipt; add \`--registry ${place}\` in a run of its own`,
      );
      for (const { target: name, digest } of images)
        checked.push({ item: { kind: 'image', name, state: 'skipped', digest }, flaws: [] });
    }
    return checked;
  }

  async #checkImage(image: ZoneImage): Promise<Checked> {
    const { reference, digest, digests, repository, wanted } = image;
    const name = `${repository}${isDigest(wanted) ? '@' : ':'}${wanted}`;
    this.#context.report({ type: 'stage', text: `verifying ${name}` });
    const item: Checked['item'] = { kind: 'image', name, state: 'done', digest, detail: { reference } };
    try {
      const source = await this.#open(image);
      const flaws = await this.#tagFlaw(image, name, source);
      const found = await checkImage(source, digest, {
        wanted: [digest, ...digests],
        prove: async (blob) => this.#once(repository, blob, source),
        slots: this.#context.slots,
        onTotal: (bytes) => this.#context.report({ type: 'total', bytes }),
        signal: this.#context.signal,
      });
      if (found.more.length > 0)
        this.notes.push(
          `beside what was imported, and not looked into: ${name} has ${found.more.length} more referrers`,
        );
      flaws.push(...found.flaws.map((flaw) => this.#contentFlaw(image, flaw)));
      const unjudged = found.unjudged.length > 0 ? { unjudged: found.unjudged } : {};
      const detail = { ...item.detail, blobs: found.checked, ...unjudged };
      return { item: { ...item, bytes: found.bytes, detail }, flaws };
    } catch (error) {
      const known = toMirrorError(error);
      if (endsRun(known)) throw known;
      return { item, flaws: [{ kind: 'blob', name, part: name, problem: problemOf(known), error: known }] };
    }
  }

  /** The name that clusters pull by has to lead there. */
  async #tagFlaw(image: ZoneImage, name: string, source: ContentSource): Promise<Flaw[]> {
    const { wanted, digest, target } = image;
    if (isDigest(wanted)) return [];
    const found = (await resolved(source, wanted))?.digest;
    if (found === digest) return [];
    const moved = this.#images.some((other) => other.target === target && other.digest === found);
    if (moved) {
      this.notes.push(`${name} leads to \`${found}\`, as another receipt says; \`${digest}\` was checked all the same`);
      return [];
    }
    const text =
      found === undefined
        ? `the tag \`${name}\` is missing`
        : `the tag \`${name}\` leads to \`${found}\`, the receipt says \`${digest}\``;
    const hint = this.#again(image);
    const error = new MirrorError(found === undefined ? 'E_MISSING' : 'E_DIGEST_MISMATCH', text, {
      hint,
      at: { side: 'target', item: name },
    });
    return [{ kind: 'blob', name, part: wanted, problem: problemOf(error), error }];
  }

  #contentFlaw(image: ZoneImage, { digest, error, namedBy }: ImageFlaw): Flaw {
    const name = `${image.repository}@${digest}`;
    // An import asks for no blob of a manifest that is there, and believes that what is there is right.
    const gone = [...namedBy, ...(error.code === 'E_MISSING' ? [] : [digest])].map(
      (each) => `${image.repository}@${each}`,
    );
    const first = gone.length === 0 ? '' : `delete ${gone.join(' and ')} in the registry, then `;
    const known = new MirrorError(error.code, `\`${image.repository}\`: ${error.message}`, {
      hint: `${first}${this.#again(image)}`,
      at: { side: 'target', item: name },
      cause: error,
    });
    return { kind: 'blob', name, part: digest, problem: problemOf(known), error: known };
  }

  #again({ bundle }: ZoneImage): string {
    return `sie-mirror import ${bundle} --images ${this.#registry}`;
  }

  async #once(repository: string, blob: Descriptor, source: ContentSource): Promise<void> {
    const key = `${repository}@${blob.digest}`;
    const known = this.#proven.get(key) ?? this.#prove(blob, source);
    this.#proven.set(key, known);
    return known;
  }

  async #prove(blob: Descriptor, source: ContentSource): Promise<void> {
    const { digest, size } = blob;
    const { algorithm, hex } = checksumOf(digest);
    const found = await this.#pool.hash(await source.fetch(blob), algorithm);
    this.bytes += found.size;
    if (found.size !== size)
      throw new MirrorError('E_SIZE_MISMATCH', `\`${digest}\` has ${found.size} bytes, ${size} were wanted`);
    if (found.hex !== hex)
      throw new MirrorError('E_DIGEST_MISMATCH', `\`${digest}\` has digest \`${algorithm}:${found.hex}\``);
  }

  /** The registry itself, and with no more rights than reading needs. */
  async #open({ place }: ZoneImage): Promise<ContentSource> {
    const registry = await this.#context.registry(place.registry, 'source');
    return resilientSource(registry.repository(place.repository), this.#context.retry);
  }

  /** Where an image is, seen from here: the registry may have another name than it had for the import. */
  #place(image: ReceivedImage, place: string, { bundle }: Receipt): ZoneImage {
    const before = `${place}/`;
    const at = { item: image.target };
    if (!image.target.startsWith(before))
      throw new MirrorError(
        'E_CORRUPT',
        `the receipt of \`${bundle.name}\` has \`${image.target}\` outside \`${before}\``,
        { at },
      );
    const target = `${this.#registry}/${image.target.slice(before.length)}`;
    try {
      const seen = parseReference(target);
      const wanted = seen.digest ?? seen.tag ?? image.digest;
      return { ...image, place: seen, wanted, repository: `${seen.registry}/${seen.repository}`, bundle: bundle.name };
    } catch (error) {
      throw new MirrorError(
        'E_CORRUPT',
        `the receipt of \`${bundle.name}\` has an image at \`${target}\`, which is no place`,
        {
          at,
          cause: error,
        },
      );
    }
  }
}
