import type { KeyObject } from 'node:crypto';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { approvalFiles, isApprovalFile, otherHalf, parseApproval, readApproval } from './approval.ts';
import { bundleFiles } from '../records/inventory.ts';
import { type Places, readSmall } from '../places.ts';
import { fingerprint } from './seal.ts';

/** Somebody whose signature was good, by a key that the verifier trusts. */
export interface Signer {
  fingerprint: string;
  /** `maker`, or what an approval says. */
  role: string;
  comment?: string | undefined;
  /** When an approval says that it was given. */
  at?: string | undefined;
}

/** An approval that counts for nothing: its key was not among those that the verifier trusts. */
export interface UncountedApproval {
  file: string;
  /** The key that it names, and in what capacity, when it was looked at; nothing proves either. */
  claims?: { fingerprint: string; role: string } | undefined;
}

/** Keys that a verifier trusts, and how many different ones of them have to have signed: the maker's among them. */
export interface Trust {
  keys: readonly KeyObject[];
  required: number;
}

export const trustNobody: Trust = { keys: [], required: 0 };

/** Files of approvals, each with its signature beside it or not. */
export function approvalStatements(places: Places): string[] {
  return [...places.keys()].filter((name) => isApprovalFile(name) && name.endsWith('.json'));
}

/** Which of the approvals are by keys that the verifier trusts. @throws E_SIGNATURE, E_CORRUPT */
export async function readApprovals(
  places: Places,
  sums: Uint8Array,
  { keys }: Trust,
): Promise<{ signers: Signer[]; uncounted: UncountedApproval[] }> {
  const signers: Signer[] = [];
  const uncounted: UncountedApproval[] = [];
  for (const name of approvalStatements(places)) {
    const signatureName = otherHalf(name);
    const statement = await readSmall(places, name);
    const signature = places.has(signatureName) ? await readSmall(places, signatureName) : undefined;
    const { key, role, comment, at } = parseApproval(name, statement);
    // One key, one approval: under other names the same one would be told of as if several had been given.
    if (approvalFiles(key).statement !== name)
      throw new MirrorError('E_SIGNATURE', `\`${name}\` is named after another key than \`${key}\`, which it is of`, {
        hint: 'ask who approved for the two files as `sie-mirror approve` named them',
        at: { item: name },
      });
    const isCounted = readApproval(name, { statement, signature }, sha256(sums), keys) !== undefined;
    if (isCounted) signers.push({ fingerprint: key, role, comment, at });
    else uncounted.push({ file: name, claims: { fingerprint: key, role } });
  }
  return { signers, uncounted };
}

/** @throws E_SIGNATURE */
export function refuseTooFew(signers: readonly Signer[], { keys, required }: Trust): void {
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
