import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checksumOf, type Digest, sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import type { Content, FileTree } from '../core/ports.ts';
import { verified } from '../core/stream.ts';
import { printable } from '../core/text.ts';
import { fileContent } from '../fs/read.ts';
import { isApprovalFile, otherHalf, readApproval } from './approval.ts';
import { type BundleBlob, bundleFiles, type Inventory, parseInventory } from './inventory.ts';
import { fingerprint, parseSums, verifySums } from './seal.ts';

/** What is wrong with one file of a bundle. */
export interface Finding {
  file: string;
  problem: 'missing' | 'extra' | 'size' | 'corrupt' | 'unreadable';
  message: string;
}

/** Somebody whose signature was good, by a key that the verifier trusts. */
export interface Signer {
  fingerprint: string;
  /** `maker`, or what an approval says. */
  role: string;
  comment?: string | undefined;
  /** When an approval says that it was given. */
  at?: string | undefined;
}

/** A bundle whose SHA256SUMS has been read, and whose signatures have been checked when there were keys. */
export interface SealedBundle {
  directory: string;
  sums: ReadonlyMap<string, string>;
  sumsDigest: Digest;
  signed: boolean;
  /** The maker first; empty when no key was given. */
  signers: readonly Signer[];
}

/** What has to be read before anything is proven; an inventory lists every file, a signature is one line. */
const smallFileLimits: Record<string, number> = {
  [bundleFiles.inventory]: 1024 ** 3,
  [bundleFiles.sums]: 16 * 1024 ** 2,
};
/** Of signatures and approvals, which no sum speaks of: nothing large may hide there. */
const smallFileLimit = 64 * 1024;

/** Keys that a verifier trusts, and how many different ones of them have to have signed: the maker's among them. */
export interface Trust {
  keys: readonly KeyObject[];
  required: number;
}

export const trustNobody: Trust = { keys: [], required: 0 };

/**
 * The first two steps, in the order that matters: the signatures over SHA256SUMS, then SHA256SUMS itself.
 * @throws E_MISSING, E_SIGNATURE, E_CORRUPT, E_NOT_FOUND
 */
export async function openSealed(directory: string, trust: Trust): Promise<SealedBundle> {
  const names = await namesIn(directory);
  if (!names.includes(bundleFiles.sums))
    throw new MirrorError(
      'E_MISSING',
      `\`${directory}\` has no \`${bundleFiles.sums}\`: it is not a bundle, or it was never finished`,
      {
        hint: 'name the directory that holds `SHA256SUMS`; if that is this one, make or copy the bundle again',
        at: { item: bundleFiles.sums },
      },
    );
  const sums = await readSmall(directory, bundleFiles.sums);
  const plain = names.includes(bundleFiles.signature) ? await readSmall(directory, bundleFiles.signature) : undefined;
  const sigstore = names.includes(bundleFiles.sigstore) ? await readSmall(directory, bundleFiles.sigstore) : undefined;
  const signers: Signer[] = [];
  if (trust.keys.length > 0) {
    const maker = verifySums(sums, { plain, sigstore }, trust.keys);
    signers.push(
      { fingerprint: fingerprint(maker), role: 'maker' },
      ...(await approvals(directory, names, sums, trust)),
    );
    refuseTooFew(signers, trust);
  }
  return {
    directory,
    sums: parseSums(sums.toString('utf8')),
    sumsDigest: sha256(sums),
    signed: plain !== undefined,
    signers,
  };
}

async function approvals(
  directory: string,
  names: readonly string[],
  sums: Uint8Array,
  { keys }: Trust,
): Promise<Signer[]> {
  const signers: Signer[] = [];
  for (const name of names.filter((each) => isApprovalFile(each) && each.endsWith('.json'))) {
    const signatureName = otherHalf(name);
    const statement = await readSmall(directory, name);
    const signature = names.includes(signatureName) ? await readSmall(directory, signatureName) : undefined;
    const approval = readApproval(name, { statement, signature }, sha256(sums), keys);
    if (!approval) continue;
    const { key, role, comment, at } = approval;
    signers.push({ fingerprint: key, role, comment, at });
  }
  return signers;
}

/** @throws E_SIGNATURE */
function refuseTooFew(signers: readonly Signer[], { keys, required }: Trust): void {
  const good = new Set(signers.map((signer) => signer.fingerprint));
  if (good.size >= required) return;
  const lacking = keys.map(fingerprint).filter((print) => !good.has(print));
  throw new MirrorError(
    'E_SIGNATURE',
    `${required} different keys must have signed, ${good.size} of those given did: nothing by \`${lacking.join('`, `')}\``,
    {
      hint: 'let the second person run `sie-mirror approve BUNDLE --key PRIVATE_KEY`, and copy what it writes along',
      at: { item: bundleFiles.sums },
    },
  );
}

/** The file set against SHA256SUMS: missing, extra, and what is no plain file; approvals come in pairs. */
export async function checkFileSet({ directory, sums }: SealedBundle): Promise<Finding[]> {
  const findings: Finding[] = [];
  const names = await namesIn(directory);
  const own: string[] = [bundleFiles.sums, bundleFiles.signature, bundleFiles.sigstore];
  for (const name of sums.keys())
    if (!names.includes(name)) findings.push({ file: name, problem: 'missing', message: `\`${name}\` is missing` });
  const isApproval = (name: string): boolean => isApprovalFile(name) && names.includes(otherHalf(name));
  for (const name of names) {
    const found = await lstat(join(directory, name));
    if (!sums.has(name) && !own.includes(name) && !isApproval(name))
      findings.push({
        file: printable(name),
        problem: 'extra',
        message: `\`${printable(name)}\` does not belong to the bundle`,
      });
    else if (!found.isFile())
      findings.push({ file: name, problem: 'corrupt', message: `\`${name}\` is not a plain file` });
    else if (!sums.has(name) && name !== bundleFiles.sums && found.size > smallFileLimit)
      findings.push({
        file: name,
        problem: 'size',
        message: `\`${name}\` has ${found.size} bytes: that is no signature`,
      });
  }
  return findings;
}

/** Volumes that are shorter or longer than they were made: nothing has to be read to see that. */
export async function checkSizes({ directory }: SealedBundle, { volumes }: Inventory): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, size } of volumes) {
    const found = await lstat(join(directory, name)).catch(() => undefined);
    if (found?.isFile() && found.size !== size)
      findings.push({
        file: name,
        problem: 'size',
        message: `\`${name}\` has ${found.size} bytes, the inventory says ${size}: copy it again`,
      });
  }
  return findings;
}

/** The inventory, read only when its own sum is right. @throws E_MISSING, E_DIGEST_MISMATCH, E_CORRUPT */
export async function readInventory({ directory, sums }: SealedBundle): Promise<Inventory> {
  const wanted = sums.get(bundleFiles.inventory);
  if (wanted === undefined)
    throw new MirrorError('E_MISSING', `\`${bundleFiles.sums}\` names no \`${bundleFiles.inventory}\``, {
      at: { item: bundleFiles.inventory },
    });
  const bytes = await readSmall(directory, bundleFiles.inventory);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== wanted)
    throw new MirrorError(
      'E_DIGEST_MISMATCH',
      `\`${bundleFiles.inventory}\` has digest \`sha256:${found}\`, \`${bundleFiles.sums}\` says \`sha256:${wanted}\``,
      {
        hint: 'copy this file from the maker again',
        at: { item: bundleFiles.inventory },
      },
    );
  const inventory = parseInventory(bytes);
  for (const { name, digest } of inventory.volumes)
    if (`sha256:${sums.get(name)}` !== digest)
      throw new MirrorError(
        'E_CORRUPT',
        `\`${bundleFiles.inventory}\` and \`${bundleFiles.sums}\` disagree about \`${name}\``,
        { at: { item: name } },
      );
  return inventory;
}

/** Reads the inside of a bundle straight from its volumes. */
export class BundleReader {
  readonly directory: string;
  readonly inventory: Inventory;
  readonly #byPath: ReadonlyMap<string, BundleBlob>;
  readonly #byDigest: ReadonlyMap<Digest, BundleBlob>;

  constructor(directory: string, inventory: Inventory) {
    this.directory = directory;
    this.inventory = inventory;
    this.#byPath = new Map(inventory.blobs.map((blob) => [blob.path, blob]));
    this.#byDigest = new Map(inventory.blobs.map((blob) => [blob.digest, blob]));
  }

  has(digest: Digest): boolean {
    return this.#byDigest.has(digest);
  }

  /** @throws E_NOT_FOUND */
  blob(digest: Digest): Content {
    const blob = this.#byDigest.get(digest);
    if (!blob)
      throw new MirrorError('E_NOT_FOUND', `\`${digest}\` is not in the bundle \`${this.inventory.name}\``, {
        at: { side: 'source', item: digest },
      });
    return this.content(blob);
  }

  content(blob: BundleBlob): Content {
    return fileContent(
      blob.parts.map((part) => ({ path: this.volumePath(part.volume), offset: part.offset, size: part.size })),
    );
  }

  /** The files below a folder of the bundle. */
  tree(folder: string): FileTree {
    return {
      file: async (path) => {
        const blob = this.#byPath.get(`${folder}/${path}`);
        if (!blob) return undefined;
        // What is named by its digest is checked by whoever receives it; nobody else checks the rest.
        return path.startsWith('blobs/') ? this.content(blob) : verifiedContent(this.content(blob), blob);
      },
    };
  }

  volumePath(number: number): string {
    const volume = this.inventory.volumes[number - 1];
    if (!volume) throw new MirrorError('E_CORRUPT', `there is no volume ${number}`);
    return join(this.directory, volume.name);
  }
}

/** The same content, checked against the inventory when it is read from its beginning. */
function verifiedContent(content: Content, { digest, size, path }: BundleBlob): Content {
  const expected = { size, checksum: checksumOf(digest), item: path };
  return {
    size,
    open: (offset, signal) =>
      offset === 0 ? verified(content.open(0, signal), expected) : content.open(offset, signal),
  };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new MirrorError('E_NOT_FOUND', `there is no directory \`${directory}\``, {
      hint: 'name the directory that holds `SHA256SUMS`',
      cause: error,
    });
  }
}

async function readSmall(directory: string, name: string): Promise<Buffer> {
  const path = join(directory, name);
  const found = await lstat(path).catch(() => undefined);
  if (!found) throw new MirrorError('E_MISSING', `\`${name}\` is missing`, { at: { item: name } });
  if (!found.isFile() || found.size > (smallFileLimits[name] ?? smallFileLimit))
    throw new MirrorError('E_CORRUPT', `\`${name}\` is not a plain file of a believable size`, { at: { item: name } });
  return readFile(path);
}
