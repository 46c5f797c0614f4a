import { MirrorError } from '../../core/errors.ts';
import type { Report } from '../../core/report.ts';
import { plural } from '../../core/text.ts';
import { HashPool } from '../../fs/hash-pool.ts';
import { StreamHashPool } from '../../fs/stream-hash.ts';
import { DirectoryStore } from '../../objects/dir.ts';
import type { Context } from '../context.ts';
import { viewObjects } from '../places/objects.ts';
import { type Checked, type Flaw, placeReport } from './place-verdict.ts';
import { StoredRepositories } from './images.ts';
import type { TrustOptions } from '../records/sealed.ts';
import { type ObjectHash, StoredModels } from './objects.ts';
import { receivedByPlace } from './received-images.ts';
import { carriedReceipts, type KnownReceipt, storedReceipts } from './zone-receipts.ts';

export interface VerifyZoneOptions extends TrustOptions {
  /** `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `file://DIR`. */
  models?: string | undefined;
  /** `HOST[:PORT][/PREFIX]` */
  images?: string | undefined;
  /** Paths of receipts; those that lie with the models when none is given. */
  receipts: readonly string[];
}

/**
 * Every byte of what a zone holds against the receipts of what was imported: each object and each blob is read once.
 * Nothing is written.
 * @throws E_USAGE, E_NOT_FOUND when there is no receipt, and what says nothing of the content: no access, no connection
 */
export async function verifyZone(options: VerifyZoneOptions, context: Context): Promise<Report> {
  const { models, images } = options;
  if (images?.includes('://'))
    throw new MirrorError('E_USAGE', `\`--registry ${images}\`: HOST[:PORT][/PREFIX] was wanted, without a scheme`);
  const store = models === undefined ? undefined : await viewObjects(context, models);
  const carried = await carriedReceipts(options.receipts, options, context);
  const stored = store ? await storedReceipts(store, context.signal) : { receipts: [], flaws: [] };
  const receipts = carried.length > 0 ? carried : stored.receipts;
  if (receipts.length === 0 && stored.flaws.length === 0) throw noReceipt(options);
  refuseEmpty(options, receipts);
  const loose: Flaw[] = carried.length > 0 ? [] : stored.flaws;
  const things: Checked[] = [];
  const notes: string[] = [];
  let bytes = 0;
  const onBytes = (read: number): void => context.report({ type: 'bytes', bytes: read });
  const { threads, signal } = context;
  await using pool = new StreamHashPool({ threads, onBytes, signal });
  // Files are read where they are hashed.
  await using files = store instanceof DirectoryStore ? new HashPool(threads, onBytes, signal) : undefined;
  if (store) {
    context.report({ type: 'stage', text: `verifying ${store.name}` });
    const others = carried.length > 0 ? stored.receipts : [];
    const hash: ObjectHash = async (key, size, algorithm) =>
      files && store instanceof DirectoryStore && algorithm === 'sha256'
        ? { hex: await files.sha256([store.extent(key, size)]), size }
        : pool.hash(store.content(key, size), algorithm);
    const bucket = new StoredModels(store, receipts, others, hash, context);
    const found = await bucket.check();
    things.push(...found.models);
    loose.push(...found.extra);
    notes.push(...bucketNotes(bucket, found.models, others, receipts));
    bytes += bucket.bytes;
  }
  if (images !== undefined) {
    const registry = new StoredRepositories(images, receipts, pool, context);
    things.push(...(await registry.check()));
    notes.push(...registry.notes);
    bytes += registry.bytes;
  }
  const left = leftOut(options, receipts);
  return placeReport({
    checked: [store?.name, images].filter((each) => each !== undefined).join(', '),
    against: receipts.length === 1 ? 'the receipt' : 'the receipts',
    facts: factsOf(receipts),
    things: [...things, ...left],
    loose,
    reservations: [
      ...(carried.length > 0 ? [] : ['BY ITS OWN RECEIPT']),
      ...([...things, ...left].some(({ item }) => item.state === 'skipped') ? ['NOT ALL LOOKED AT'] : []),
      ...(receipts.every(({ receipt }) => receipt.complete) ? [] : ['IMPORT NOT COMPLETE']),
    ],
    notes: [...notes, ...leftNotes(options, left)],
    bytes,
  });
}

function noReceipt({ models }: VerifyZoneOptions): MirrorError {
  const text =
    models === undefined
      ? 'a registry keeps no receipt: none was given'
      : `no receipt lies in \`${models}\`, and none was given`;
  return new MirrorError(models === undefined ? 'E_USAGE' : 'E_NOT_FOUND', text, {
    hint: 'add `--receipt FILE`: `import` writes it as NAME.receipt.json where it runs',
  });
}

/** Nothing to check is no proof of anything. @throws E_USAGE */
function refuseEmpty({ models, images }: VerifyZoneOptions, receipts: readonly KnownReceipt[]): void {
  const lacks = (kind: 'models' | 'images'): boolean =>
    receipts.length > 0 &&
    receipts.every(({ receipt }) => (kind === 'models' ? receipt.models : receivedByPlace(receipt)).length === 0);
  const [place, kind] = models !== undefined && lacks('models') ? [models, 'model'] : [images, 'image'];
  if (place === undefined || (kind === 'image' && !lacks('images'))) return;
  throw new MirrorError('E_USAGE', `the receipt names no ${kind}, so there is nothing to hold \`${place}\` against`, {
    hint: 'give the receipt of an import that brought some there',
  });
}

/** What is no fault, and would surprise somebody who thinks that all was looked at. */
function bucketNotes(
  bucket: StoredModels,
  models: readonly Checked[],
  others: readonly KnownReceipt[],
  receipts: readonly KnownReceipt[],
): string[] {
  const names = new Set(receipts.map(({ receipt }) => receipt.bundle.inventory));
  const unread = others.filter(({ receipt }) => !names.has(receipt.bundle.inventory)).map(({ from }) => `\`${from}\``);
  return [
    ...models
      .filter(({ item, flaws }) => item.state === 'skipped' && flaws.length === 0)
      .map(({ item }) => `${item.name} was replaced by what another import brought to the same place`),
    ...bucket.moved,
    ...(bucket.unknown.size > 0
      ? [`EXTRA  no receipt speaks of ${[...bucket.unknown].sort().join(', ')}: nothing is said of what is in there`]
      : []),
    ...(unread.length > 0 ? [`not looked at: what ${unread.join(', ')} in the target says`] : []),
  ];
}

/** What the receipts name, and no place was given for. */
function leftOut({ models, images }: VerifyZoneOptions, receipts: readonly KnownReceipt[]): Checked[] {
  const left: Checked['item'][] = [];
  for (const { receipt } of receipts) {
    if (models === undefined)
      for (const { repo, commit } of receipt.models.filter(({ image }) => image === undefined || images === undefined))
        left.push({ kind: 'model', name: `${repo}@${commit}`, state: 'skipped', detail: { repo, commit, objects: 0 } });
    if (images === undefined)
      for (const { target, digest } of receipt.images)
        left.push({ kind: 'image', name: target, state: 'skipped', digest });
  }
  return left.map((item) => ({ item, flaws: [] }));
}

function leftNotes({ models }: VerifyZoneOptions, left: readonly Checked[]): string[] {
  if (left.length === 0) return [];
  const what = models === undefined ? ['model', 's3://BUCKET/PREFIX'] : ['image', '--registry HOST/PREFIX'];
  return [`not looked at: ${plural(left.length, what[0] ?? '')} of the receipt; add \`${what[1]}\``];
}

function factsOf(receipts: readonly KnownReceipt[]): Record<string, string> {
  const each = receipts.map(({ from, receipt }) => {
    const { name, inventory, signedBy } = receipt.bundle;
    const by = signedBy === undefined ? 'whose signature was not checked' : `signed by ${signedBy}`;
    return `${from}: of the bundle ${name} (inventory ${inventory}), ${by}${receipt.complete ? '' : '; the import was not complete'}`;
  });
  return { receipt: each.join('; ') };
}
