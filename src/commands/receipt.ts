import type { Digest } from '../core/digest.ts';
import { toolName } from '../core/version.ts';

const receiptSchemaId = 'sie-mirror/receipt/v1';

/** Where receipts live in an object store: outside every `models--` folder, which workers read whole. */
export const receiptPrefix = '.sie-mirror';

export interface ReceivedModel {
  repo: string;
  commit: string;
  /** Objects below the target, with what they hold. */
  objects: { key: string; digest: Digest; size: number }[];
}

export interface ReceivedImage {
  /** What it was called where it came from. */
  reference: string;
  /** What it is called in the zone. */
  target: string;
  digest: Digest;
  digests: Digest[];
}

/** What a target holds after an import: the inventory of the zone. Never a secret. */
export interface Receipt {
  schema: typeof receiptSchemaId;
  tool: string;
  bundle: { name: string; /** Of inventory.json. */ inventory: Digest; signedBy: string | undefined };
  targets: { models?: string; images?: string };
  complete: boolean;
  models: ReceivedModel[];
  images: ReceivedImage[];
}

export function startReceipt(bundle: Receipt['bundle'], targets: Receipt['targets']): Receipt {
  return { schema: receiptSchemaId, tool: toolName, bundle, targets, complete: false, models: [], images: [] };
}

export function formatReceipt(receipt: Receipt): string {
  return `${JSON.stringify(receipt, undefined, 1)}\n`;
}
