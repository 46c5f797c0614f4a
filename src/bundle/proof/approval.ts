import { type KeyObject, verify } from 'node:crypto';
import { type Digest, sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { digestSchema, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { bundleFiles } from '../records/inventory.ts';
import { parseStrictJson } from '../records/inventory-parse.ts';
import { fingerprint, readSignature } from './seal.ts';

const approvalSchemaId = 'sie-mirror/approval/v1';

/** What a second person says of a bundle, over the very bytes of its SHA256SUMS. */
export interface Approval {
  schema: typeof approvalSchemaId;
  /** Of SHA256SUMS. */
  sums: Digest;
  /** Fingerprint of the key that signs this. */
  key: string;
  /** In what capacity, e.g. `security officer`. */
  role: string;
  comment?: string | undefined;
  /** ISO 8601, by the clock of who approved. */
  at: string;
}

const approvalSchema: z.ZodType<Approval> = z.object({
  schema: z.literal(approvalSchemaId),
  sums: digestSchema,
  key: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  role: z.string().min(1).max(200),
  comment: z.string().max(2000).optional(),
  at: z.iso.datetime(),
});

const namePattern = /^SHA256SUMS\.approval-[0-9a-f]{16}\.(?:json|sig)$/;

/** Approvals stand beside SHA256SUMS and are named after their key: a statement, and a signature over its bytes. */
export function isApprovalFile(name: string): boolean {
  return namePattern.test(name);
}

/** More than ever approve one bundle: who has no key must not fill a bundle with files that no sum speaks of. */
export const mostApprovals = 16;

/** The other file of the pair. */
export function otherHalf(name: string): string {
  return name.endsWith('.sig') ? name.replace(/sig$/, 'json') : name.replace(/json$/, 'sig');
}

/** @param print fingerprint of the key */
export function approvalFiles(print: string): { statement: string; signature: string } {
  const base = `${bundleFiles.sums}.approval-${print.slice('sha256:'.length).slice(0, 16)}`;
  return { statement: `${base}.json`, signature: `${base}.sig` };
}

/**
 * What an approval says, as JSON: these very bytes are signed, as SHA256SUMS itself is.
 * @param key fingerprint of the key that will sign it
 * @throws E_USAGE for a role or comment that no reader would take
 */
export function approvalStatement(
  sums: Uint8Array,
  key: string,
  about: Pick<Approval, 'role' | 'comment' | 'at'>,
): string {
  refuseUnprintable('role', about.role);
  refuseUnprintable('comment', (about.comment ?? '').replaceAll('\n', ' '));
  const given: Approval = { schema: approvalSchemaId, sums: sha256(sums), key, ...about };
  const approval = validate(approvalSchema, given, 'the approval', 'E_USAGE');
  return `${JSON.stringify(approval, undefined, 1)}\n`;
}

/** Other tools than ours print a statement as it stands. */
function refuseUnprintable(field: string, text: string): void {
  if (printable(text) === text) return;
  throw new MirrorError(
    'E_USAGE',
    `the ${field} \`${printable(text)}\` has characters that steer a terminal, or a password`,
    {
      hint: 'leave them out: whoever checks the approval prints what it says',
    },
  );
}

/**
 * What a file of an approval says of itself: nothing of it is proven yet.
 * @throws E_CORRUPT
 */
export function parseApproval(name: string, statement: Uint8Array): Approval {
  return validate(approvalSchema, parseStrictJson(statement, name), name);
}

/**
 * Reads an approval by one of the keys that the verifier trusts.
 * @returns undefined when it was made with another key: it then counts for nothing
 * @throws E_SIGNATURE when it says that it is of a trusted key and is not, or is of another bundle; E_CORRUPT
 */
export function readApproval(
  name: string,
  files: { statement: Uint8Array; signature: Uint8Array | undefined },
  sums: Digest,
  keys: readonly KeyObject[],
): Approval | undefined {
  const approval = parseApproval(name, files.statement);
  const key = keys.find((each) => fingerprint(each) === approval.key);
  if (!key) return undefined;
  const wrong = (text: string): MirrorError =>
    new MirrorError('E_SIGNATURE', `\`${name}\` ${text}`, {
      hint: 'do not use this bundle before its maker and who approved it have been asked',
      at: { item: name },
    });
  if (!files.signature) throw wrong('has no signature beside it');
  if (!verify('sha256', files.statement, key, readSignature(files.signature)))
    throw wrong(`is not signed by the key \`${approval.key}\``);
  if (approval.sums !== sums)
    throw wrong(
      `approves a bundle whose \`${bundleFiles.sums}\` has digest \`${approval.sums}\`, here it is \`${sums}\``,
    );
  return approval;
}
