import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type Digest, sha256 } from '../core/digest.ts';
import { keepHeapSmall } from '../core/engine.ts';
import { MirrorError } from '../core/errors.ts';
import type { Content, FileTree } from '../core/ports.ts';
import { expectationOf, explained, verified } from '../core/stream.ts';
import { printable } from '../core/text.ts';
import { fileContent } from '../fs/read.ts';
import { isApprovalFile, mostApprovals, otherHalf } from './proof/approval.ts';
import { BlobIndex, type WantedDigests } from './lists/blob-index.ts';
import { type BundleBlob, bundleFiles, type BundleVolume, type Inventory } from './records/inventory.ts';
import { parseInventory } from './records/inventory-check.ts';
import { isMediumError } from './medium-errors.ts';
import {
  findPlaces,
  type Place,
  placeLabel,
  placeOf,
  type Places,
  readPieces,
  readPlace,
  readSmall,
  smallFileLimit,
} from './places.ts';
import { fingerprint, parseSums, verifySums } from './proof/seal.ts';
import {
  approvalStatements,
  readApprovals,
  refuseTooFew,
  type Signer,
  type Trust,
  type UncountedApproval,
} from './proof/signers.ts';

/** What is wrong with one file of a bundle. */
export interface Finding {
  file: string;
  problem: 'missing' | 'extra' | 'size' | 'corrupt' | 'unreadable';
  message: string;
  /** Path of the blob in the volume, when one is to blame. */
  blob?: string;
  /** Nobody let us read it, which says nothing of the bytes. */
  isDenied?: true;
}

/** A bundle whose SHA256SUMS has been read, and whose signatures have been checked when there were keys. */
export interface SealedBundle {
  /** The first one, when it lies on several media. */
  directory: string;
  places: Places;
  sums: ReadonlyMap<string, string>;
  sumsDigest: Digest;
  signed: boolean;
  /** The maker first; empty when no key was given. */
  signers: readonly Signer[];
  uncounted: readonly UncountedApproval[];
}

/**
 * The first two steps, in the order that matters: the signatures over SHA256SUMS, then SHA256SUMS itself.
 * @param others more directories of the same bundle, when it lies on several media; each holds SHA256SUMS
 * @throws E_MISSING, E_SIGNATURE, E_CORRUPT, E_NOT_FOUND
 */
export async function openSealed(
  directory: string,
  trust: Trust,
  others: readonly string[] = [],
): Promise<SealedBundle> {
  const directories = [...new Set([directory, ...others])];
  const places = await findPlaces(directories);
  const sums = await readSums(places, directories);
  const plain = places.has(bundleFiles.signature) ? await readSmall(places, bundleFiles.signature) : undefined;
  const sigstore = places.has(bundleFiles.sigstore) ? await readSmall(places, bundleFiles.sigstore) : undefined;
  const signers: Signer[] = [];
  let uncounted: UncountedApproval[] = approvalStatements(places).map((file) => ({ file }));
  if (trust.keys.length > 0) {
    const maker = verifySums(sums, { plain, sigstore }, trust.keys);
    const approvals = await readApprovals(places, sums, trust);
    signers.push({ fingerprint: fingerprint(maker), role: 'maker' }, ...approvals.signers);
    uncounted = approvals.uncounted;
    refuseTooFew(signers, trust);
  }
  return {
    directory,
    places,
    sums: parseSums(sums.toString('utf8')),
    sumsDigest: sha256(sums),
    signed: plain !== undefined,
    signers,
    uncounted,
  };
}

function noSums(places: Places, directory: string): MirrorError {
  const at = { item: bundleFiles.sums };
  const renamed = [...places]
    .filter(([name, found]) => isShortened(name) && found.some((place) => place.directory === directory))
    .map(([name]) => `\`${name}\``);
  if (renamed.length > 0)
    return new MirrorError(
      'E_MISSING',
      `\`${directory}\` has ${renamed.join(', ')} and no \`${bundleFiles.sums}\`: its file system has cut the names, or changed their case`,
      {
        hint: 'mount it with long names, or write the medium again so that it has them: `docs/bundle.md` says how for discs',
        at,
      },
    );
  return new MirrorError(
    'E_MISSING',
    `\`${directory}\` has no \`${bundleFiles.sums}\`: it is not a bundle, or it was never finished`,
    { hint: 'name the directory that holds `SHA256SUMS`; if that is this one, make or copy the bundle again', at },
  );
}

/** SHA256SUMS as ISO 9660 without extensions has it (`SHA256SU`), FAT without long names (`SHA256~1`), or what knows no case. */
function isShortened(name: string): boolean {
  return /^sha256(?:su(?:ms)?|~\d)\.?$/i.test(name) && name !== bundleFiles.sums;
}

/** The one SHA256SUMS that all directories have to hold. */
async function readSums(places: Places, directories: readonly string[]): Promise<Buffer> {
  const found: Buffer[] = [];
  for (const directory of directories) {
    const place = places.get(bundleFiles.sums)?.find((each) => each.directory === directory);
    if (!place) throw noSums(places, directory);
    const bytes = await readPlace(place, bundleFiles.sums);
    if (found[0] && !found[0].equals(bytes))
      throw new MirrorError(
        'E_CORRUPT',
        `\`${directory}\` and \`${directories[0]}\` hold different \`${bundleFiles.sums}\`: they are not one bundle`,
        { hint: 'name directories of one bundle only, or copy that medium again', at: { item: bundleFiles.sums } },
      );
    found.push(bytes);
  }
  return found[0] ?? Buffer.alloc(0);
}

/** The file set against SHA256SUMS: missing, extra, and what is no plain file; approvals come in pairs. */
export function checkFileSet({ places, sums }: SealedBundle): Finding[] {
  const findings: Finding[] = [];
  const own: string[] = [bundleFiles.sums, bundleFiles.signature, bundleFiles.sigstore];
  for (const name of sums.keys())
    if (!places.has(name)) findings.push({ file: name, problem: 'missing', message: `\`${name}\` is missing` });
  const isApproval = (name: string): boolean => isApprovalFile(name) && places.has(otherHalf(name));
  for (const name of approvalStatements(places).slice(mostApprovals))
    findings.push({
      file: name,
      problem: 'extra',
      message: `\`${name}\` is one approval more than the ${mostApprovals} that a bundle may have: remove those whose keys nobody knows`,
    });
  for (const [name, found] of places) {
    const size = Math.max(...found.map((place) => place.size));
    if (!sums.has(name) && !own.includes(name) && !isApproval(name))
      findings.push({
        file: printable(name),
        problem: 'extra',
        message: isApprovalFile(name)
          ? `\`${name}\` is one half of an approval, without \`${otherHalf(name)}\`: copy both, or remove it`
          : `\`${printable(name)}\` does not belong to the bundle: remove it`,
      });
    else if (found.some(({ plain }) => !plain))
      findings.push({ file: name, problem: 'corrupt', message: `\`${name}\` is not a plain file` });
    else if (!sums.has(name) && name !== bundleFiles.sums && size > smallFileLimit)
      findings.push({
        file: name,
        problem: 'size',
        message: `\`${name}\` has ${size} bytes: that is no signature`,
      });
  }
  return findings;
}

/** Volumes that are shorter or longer than they were made: nothing has to be read to see that. */
export function checkSizes({ places }: SealedBundle, { volumes }: Inventory): Finding[] {
  const findings: Finding[] = [];
  for (const volume of volumes) {
    const found = placeOf(places, volume);
    if (found?.plain && found.size !== volume.size) findings.push(wrongSize(places, volume, found));
  }
  return findings;
}

/** Of a volume at one of its places. */
export function wrongSize(places: Places, { name, size }: BundleVolume, place: Place): Finding {
  const label = placeLabel(places, name, place);
  const message = `${label} has ${place.size} bytes, the inventory says ${size}: copy it again`;
  return { file: name, problem: 'size', message };
}

/** The inventory, read only when its own sum is right. @throws E_MISSING, E_DIGEST_MISMATCH, E_CORRUPT */
export async function readInventory(bundle: SealedBundle): Promise<Inventory> {
  const { sums } = bundle;
  const inventory = parseInventory(await provenInventory(bundle));
  for (const { name, digest } of inventory.volumes)
    if (`sha256:${sums.get(name)}` !== digest)
      throw new MirrorError(
        'E_CORRUPT',
        `\`${bundleFiles.inventory}\` and \`${bundleFiles.sums}\` disagree about \`${name}\``,
        { at: { item: name } },
      );
  return inventory;
}

/** So many pieces of an inventory, of 1 MiB each, and what it names is worth a thought for memory. */
const longAt = 8;

/** Its bytes, read once: kept small until they are proven, as it may be large. */
async function provenInventory({ places, sums }: SealedBundle): Promise<Iterable<Buffer>> {
  const wanted = sums.get(bundleFiles.inventory);
  if (wanted === undefined)
    throw new MirrorError('E_MISSING', `\`${bundleFiles.sums}\` names no \`${bundleFiles.inventory}\``, {
      at: { item: bundleFiles.inventory },
    });
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  for await (const piece of readPieces(places, bundleFiles.inventory)) {
    hash.update(piece);
    kept.push(deflateRawSync(piece, { level: 1 }));
    if (kept.length === longAt) keepHeapSmall();
  }
  const found = hash.digest('hex');
  if (found === wanted) return inflated(kept);
  throw new MirrorError(
    'E_DIGEST_MISMATCH',
    `\`${bundleFiles.inventory}\` has digest \`sha256:${found}\`, \`${bundleFiles.sums}\` says \`sha256:${wanted}\``,
    {
      hint: 'copy this file from the maker again',
      at: { item: bundleFiles.inventory },
    },
  );
}

function* inflated(pieces: Buffer[]): Generator<Buffer> {
  for (let piece = pieces.shift(); piece; piece = pieces.shift()) yield inflateRawSync(piece);
}

/** Reads the inside of a bundle straight from its volumes, of which some may be on another medium. */
export class BundleReader {
  readonly inventory: Inventory;
  readonly #places: Places;
  #index: BlobIndex | undefined;

  constructor({ places }: Pick<SealedBundle, 'places'>, inventory: Inventory) {
    this.inventory = inventory;
    this.#places = places;
  }

  /** Made when something is looked for: to verify the volumes nothing is. */
  get #blobs(): BlobIndex {
    this.#index ??= new BlobIndex(this.inventory.blobs, (blob) => this.lacking(blob).length === 0);
    return this.#index;
  }

  has(digest: Digest): boolean {
    return this.#blobs.byDigest(digest) !== undefined;
  }

  /** A file of the bundle, by its digest or its path; it can be read when nothing of it is `lacking`. */
  find(name: string): BundleBlob | undefined {
    return this.#blobs.byPath(name) ?? this.#blobs.byDigest(name as Digest);
  }

  /** The same for the files of many digests at once; for each of them what `make` makes of it. */
  findEach<R>(digests: WantedDigests, make: (blob: BundleBlob) => R): (R | undefined)[] {
    return this.#blobs.eachByDigest(digests, make);
  }

  /** Volumes that a file lies in and that are not here. */
  lacking({ parts }: BundleBlob): string[] {
    const volumes = parts.map(({ volume }) => this.#volume(volume));
    return volumes.filter((volume) => !placeOf(this.#places, volume)).map(({ name }) => name);
  }

  /** @throws E_NOT_FOUND */
  blob(digest: Digest): Content {
    const blob = this.#blobs.byDigest(digest);
    if (!blob)
      throw new MirrorError('E_NOT_FOUND', `\`${digest}\` is not in the bundle \`${this.inventory.name}\``, {
        at: { side: 'source', item: digest },
      });
    return this.content(blob);
  }

  content(blob: BundleBlob): Content {
    const extents = blob.parts.map(({ volume, offset, size }) => ({ path: this.volumePath(volume), offset, size }));
    return ofMedium(fileContent(extents), blob.path);
  }

  /** The files below a folder of the bundle. */
  tree(folder: string): FileTree {
    return {
      file: async (path) => {
        const blob = this.#blobs.byPath(`${folder}/${path}`);
        if (!blob) return undefined;
        // What is named by its digest is checked by whoever receives it; nobody else checks the rest.
        return path.startsWith('blobs/') ? this.content(blob) : verifiedContent(this.content(blob), blob);
      },
    };
  }

  /** @throws E_MEDIUM when the volume is not here */
  volumePath(number: number): string {
    const volume = this.#volume(number);
    const place = placeOf(this.#places, volume);
    if (place) return place.path;
    throw new MirrorError('E_MEDIUM', `the volume \`${volume.name}\` is not here`, {
      hint: 'insert its medium, or name its directory with `--from`',
      at: { side: 'source', item: volume.name },
    });
  }

  /** For messages. */
  volumeLabel(number: number): string {
    const volume = this.#volume(number);
    return placeLabel(this.#places, volume.name, placeOf(this.#places, volume));
  }

  #volume(number: number): BundleVolume {
    const volume = this.inventory.volumes[number - 1];
    if (!volume) throw new MirrorError('E_CORRUPT', `there is no volume ${number}`);
    return volume;
  }
}

/** A medium that cannot be read says nothing of the bytes: the file is named, and others can go on. */
function ofMedium(content: Content, item: string): Content {
  return explained(content, (error) => {
    if (!isMediumError(error)) return error;
    const { code = '', path } = error as NodeJS.ErrnoException;
    const place = path === undefined ? '' : ` from \`${path}\``;
    return new MirrorError('E_MEDIUM', `\`${item}\` cannot be read${place}: \`${code}\``, {
      hint: 'try another port or reader, or copy that volume again; then run the same command again',
      at: { side: 'source', item },
      cause: error,
    });
  });
}

/** The same content, checked against the inventory when it is read from its beginning. */
function verifiedContent(content: Content, blob: BundleBlob): Content {
  const expected = expectationOf(blob, blob.path);
  return {
    size: blob.size,
    open: (offset, signal) =>
      offset === 0 ? verified(content.open(0, signal), expected) : content.open(offset, signal),
  };
}
