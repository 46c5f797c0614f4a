import type { BundleBlob } from '../../bundle/inventory.ts';
import type { Digest } from '../../core/digest.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import type { Content } from '../../core/ports.ts';
import type { WantedObject } from './state.ts';

/** What models are read from: the volumes of a bundle, or files at hand. */
export type ModelSource = Pick<BundleReader, 'inventory' | 'find' | 'findEach' | 'lacking' | 'blob' | 'content'>;

/** One object of a model, in the order in which it becomes visible: content, the list of files, refs. */
export interface ModelObject extends WantedObject {
  /** In the bundle; or where the base of a delta put the same bytes; or in volumes of which some are not here. */
  from: Content | { key: string } | { blob: BundleBlob };
}

/** Offsets that are kept in one number with the volume; what lies behind is kept as it is. */
const offsets = 2 ** 38;

/** One piece in a volume that is here, as most files are, as a number: there may be hundreds of thousands of them. */
type Place = number | ModelObject['from'];

function placeOf(blob: BundleBlob, reader: ModelSource): Place {
  if (reader.lacking(blob).length > 0) return { blob };
  const [part, ...more] = blob.parts;
  return part && more.length === 0 && part.offset < offsets
    ? part.volume * offsets + part.offset
    : reader.content(blob);
}

/** An object whose content is made when it is asked for. */
class PlacedObject implements ModelObject {
  readonly key: string;
  readonly digest: Digest;
  readonly size: number;
  readonly #reader: ModelSource;
  readonly #place: Place;

  constructor({ key, digest, size }: WantedObject, reader: ModelSource, place: Place) {
    this.key = key;
    this.digest = digest;
    this.size = size;
    this.#reader = reader;
    this.#place = place;
  }

  get from(): ModelObject['from'] {
    const { key, digest, size } = this;
    if (typeof this.#place !== 'number') return this.#place;
    const part = { volume: Math.floor(this.#place / offsets), offset: this.#place % offsets, size };
    return this.#reader.content({ path: key, digest, size, parts: [part] });
  }
}

/**
 * Objects with where their bytes come from: the bundle, or the base of a delta.
 * @param held where the base has files, by their digests
 * @throws E_NOT_FOUND for what is in neither
 */
export function placeObjects(
  wanted: readonly WantedObject[],
  reader: ModelSource,
  held: ReadonlyMap<Digest, string | undefined>,
): ModelObject[] {
  const digests = wanted.map(({ digest }) => digest);
  const places = reader.findEach(digests, (blob) => placeOf(blob, reader));
  return wanted.map((object, index) => {
    const old = places[index] === undefined ? held.get(object.digest) : undefined;
    const place = places[index] ?? (old === undefined ? reader.blob(object.digest) : { key: old });
    return new PlacedObject(object, reader, place);
  });
}
