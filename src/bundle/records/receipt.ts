import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Digest } from '../../core/digest.ts';
import { checkRelativePath } from '../../core/path.ts';
import { digestSchema as digest, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { toolName } from '../../core/version.ts';
import { ifThere } from '../../fs/if-there.ts';
import { parseLongLists, parseStrictJson } from './inventory-parse.ts';
import { documentChunks } from './inventory-text.ts';
import { type LongList, PackedList } from '../lists/long-list.ts';

export const receiptSchemaId = 'sie-mirror/receipt/v1';

/** Where receipts live in an object store: outside every `models--` folder, which workers read whole. */
export const receiptPrefix = '.sie-mirror';

/** Whether a key is that of a receipt of what is there now: below it lie parts of receipts, and receipts of what was. */
export function isReceiptKey(key: string): boolean {
  return /^[^/]+\/[^/]+\.receipt\.json$/.test(key) && key.startsWith(`${receiptPrefix}/`);
}

export interface ReceivedObject {
  key: string;
  digest: Digest;
  size: number;
  /** What the store called these bytes then: as long as it still does, they need not be asked for. */
  version?: string | undefined;
}

export interface ReceivedModel<Objects = ReceivedObject[]> {
  repo: string;
  commit: string;
  /** Objects below the target, with what they hold; of an image the files inside. */
  objects: Objects;
  /** When the target is a registry. */
  image?: { reference: string; form: 'image' | 'modelpack'; digest: Digest; digests: Digest[] } | undefined;
}

export interface ReceivedImage {
  /** What it was called where it came from. */
  reference: string;
  /** What it is called in the zone. */
  target: string;
  digest: Digest;
  digests: Digest[];
  /** Came to the place for charts. */
  chart?: true | undefined;
}

/** A file in the target that was named for it. */
export interface ReceivedFile {
  path: string;
  digest: Digest;
  size: number;
}

/** A chart that was imported as files; one that went to a registry is an image. */
export interface ReceivedChart {
  reference: string;
  digest: Digest;
  files: ReceivedFile[];
}

/** What a target holds after an import: the inventory of the zone. Never a secret. */
export interface Receipt<Objects = ReceivedObject[]> {
  schema: typeof receiptSchemaId;
  tool: string;
  bundle: { name: string; /** Of inventory.json. */ inventory: Digest; signedBy?: string | undefined };
  targets: {
    models?: string | undefined;
    images?: string | undefined;
    charts?: string | undefined;
    files?: string | undefined;
  };
  complete: boolean;
  /** Of a part of a receipt: which part, and whether all of it is there. */
  shard?: { index: number; of: number; done: boolean } | undefined;
  models: ReceivedModel<Objects>[];
  images: ReceivedImage[];
  charts?: ReceivedChart[] | undefined;
  files?: ReceivedFile[] | undefined;
}

/** One that is being made, maybe of very many objects. */
export type NewReceipt = Receipt<LongList<ReceivedObject>>;

export function startReceipt(bundle: Receipt['bundle'], targets: Receipt['targets']): NewReceipt {
  return { schema: receiptSchemaId, tool: toolName, bundle, targets, complete: false, models: [], images: [] };
}

export function formatReceipt(receipt: NewReceipt): string {
  return Buffer.concat([...documentChunks(receipt)]).toString('utf8');
}

/** A receipt as it is written. Of many files its text would be larger than the receipt, so it is made again each time it is read. */
export interface WrittenReceipt {
  digest: Digest;
  size: number;
  chunks: () => Iterable<Buffer>;
}

export function writtenReceipt(receipt: NewReceipt): WrittenReceipt {
  const hash = createHash('sha256');
  let size = 0;
  for (const chunk of documentChunks(receipt)) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size, chunks: () => documentChunks(receipt) };
}

const files = z.array(z.object({ path: z.string(), digest, size: z.number() }));

const receivedObject = z.object({ key: z.string(), digest, size: z.number(), version: z.string().optional() });

/** Looked at element by element, so that it is never there twice. */
const longList = z.custom<LongList<ReceivedObject>>(
  (value) => Array.isArray(value) || value instanceof PackedList,
  'is not a list',
);

function schemaOf<Objects>(objects: z.ZodType<Objects>): z.ZodType<Receipt<Objects>> {
  return z.object({
    schema: z.literal(receiptSchemaId),
    tool: z.string(),
    // Hints are typed, and this name stands in them.
    bundle: z.object({
      name: z.string().regex(/^\w[\w.-]{0,255}$/),
      inventory: digest,
      signedBy: z.string().optional(),
    }),
    targets: z.object({
      models: z.string().optional(),
      images: z.string().optional(),
      charts: z.string().optional(),
      files: z.string().optional(),
    }),
    complete: z.boolean(),
    shard: z.object({ index: z.number(), of: z.number(), done: z.boolean() }).optional(),
    models: z.array(
      z.object({
        repo: z.string(),
        commit: z.string(),
        objects,
        image: z
          .object({ reference: z.string(), form: z.enum(['image', 'modelpack']), digest, digests: z.array(digest) })
          .optional(),
      }),
    ),
    images: z.array(
      z.object({
        reference: z.string(),
        target: z.string(),
        digest,
        digests: z.array(digest),
        chart: z.literal(true).optional(),
      }),
    ),
    charts: z.array(z.object({ reference: z.string(), digest, files })).optional(),
    files: files.optional(),
  });
}

const receiptSchema = schemaOf(z.array(receivedObject));
const longReceiptSchema = schemaOf(longList);

/** A receipt of an earlier import; undefined when there is none. @throws E_CORRUPT for a file that is none */
export async function readReceipt(path: string): Promise<NewReceipt | undefined> {
  const found = await ifThere(stat(path));
  return found && parseLongReceipt(piecesOf(path), path);
}

const pieceBytes = 1024 * 1024;

function* piecesOf(path: string): Generator<Buffer> {
  const file = openSync(path, 'r');
  try {
    for (;;) {
      const piece = Buffer.allocUnsafeSlow(pieceBytes);
      const length = readSync(file, piece);
      if (length === 0) return;
      yield piece.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

/** What lies in a zone may be from anybody: nothing of it names a place outside of its target. @throws E_CORRUPT */
export function parseReceipt(bytes: Uint8Array, name: string): Receipt {
  const receipt = validate(receiptSchema, parseStrictJson(bytes, name), name);
  checkPaths(receipt, name);
  return receipt;
}

/** The same of a receipt that may name very many objects, given in pieces. @throws E_CORRUPT */
export function parseLongReceipt(pieces: Iterable<Uint8Array>, name: string): NewReceipt {
  const receipt = validate(longReceiptSchema, parseLongLists(pieces, name), name);
  for (const { repo, objects } of receipt.models)
    for (const object of objects)
      if (!receivedObject.safeParse(object).success) validate(receivedObject, object, `${name}: ${repo}`);
  checkPaths(receipt, name);
  return receipt;
}

function checkPaths({ models }: NewReceipt, name: string): void {
  for (const { repo, objects } of models) {
    checkRelativePath(repo, name);
    for (const { key } of objects) checkRelativePath(key, name);
  }
}
