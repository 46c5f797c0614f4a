import { DigestList } from '../../bundle/lists/digest-list.ts';
import type { BundleBlob } from '../../bundle/records/inventory.ts';
import { type LongList, MadeList, PackedList } from '../../bundle/lists/long-list.ts';
import type { Digest } from '../../core/digest.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { MirrorError } from '../../core/errors.ts';
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

/** Where an object comes from, as plain data: one piece in a volume that is here, as most files are, is a number. */
type Place = number | { piece: BundleBlob } | { lacking: BundleBlob } | { key: string };

function placeOf(blob: BundleBlob, reader: ModelSource): Place {
  if (reader.lacking(blob).length > 0) return { lacking: blob };
  const [part, ...more] = blob.parts;
  return part && more.length === 0 && part.offset < offsets ? part.volume * offsets + part.offset : { piece: blob };
}

interface PlacedObject extends WantedObject {
  place: Place;
}

function fromOf({ key, digest, size, place }: PlacedObject, reader: ModelSource): ModelObject['from'] {
  if (typeof place === 'number') {
    const part = { volume: Math.floor(place / offsets), offset: place % offsets, size };
    return reader.content({ path: key, digest, size, parts: [part] });
  }
  if ('key' in place) return place;
  return 'lacking' in place ? { blob: place.lacking } : reader.content(place.piece);
}

/**
 * Objects with where their bytes come from: the bundle, or the base of a delta. There may be hundreds of thousands of them.
 * @param held where the base has files, by their digests
 * @throws E_NOT_FOUND for what is in neither
 */
export function placeObjects(
  wanted: LongList<WantedObject>,
  reader: ModelSource,
  held: ReadonlyMap<Digest, string | undefined>,
): LongList<ModelObject> {
  const digests = new DigestList();
  for (const { digest } of wanted) digests.push(digest);
  const places = reader.findEach(digests, (blob) => placeOf(blob, reader));
  const placed = new PackedList<PlacedObject>();
  for (const object of wanted) {
    const key = held.get(object.digest);
    const place = places[placed.length] ?? (key === undefined ? undefined : { key });
    if (place === undefined)
      throw new MirrorError('E_NOT_FOUND', `\`${object.digest}\` is not in the bundle \`${reader.inventory.name}\``, {
        at: { side: 'source', item: object.digest },
      });
    placed.push({ ...object, place });
  }
  return new MadeList(placed, (object) => {
    const { key, digest, size } = object;
    return {
      key,
      digest,
      size,
      get from() {
        return fromOf(object, reader);
      },
    };
  });
}
