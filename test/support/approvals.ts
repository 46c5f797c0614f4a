import type { KeyObject } from 'node:crypto';
import { type Approval, approvalStatement } from '../../src/bundle/proof/approval.ts';
import { fingerprint, signSums } from '../../src/bundle/proof/seal.ts';

/** What the two files of an approval hold, as `approve` writes them. */
export function signApproval(
  sums: Uint8Array,
  key: KeyObject,
  about: Pick<Approval, 'role' | 'comment' | 'at'>,
): { statement: string; signature: string } {
  const statement = approvalStatement(sums, fingerprint(key), about);
  return { statement, signature: signSums(Buffer.from(statement), key).plain };
}
