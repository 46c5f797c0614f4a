import type { KeyObject } from 'node:crypto';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { approvalFiles } from '../../src/bundle/proof/approval.ts';
import { signApproval } from './approvals.ts';
import { bundleFiles } from '../../src/bundle/records/inventory.ts';
import { openSealed } from '../../src/bundle/reader.ts';
import { fingerprint, makeKeyPair, readPrivateKey, readPublicKey } from '../../src/bundle/proof/seal.ts';
import type { Trust } from '../../src/bundle/proof/signers.ts';
import { verifyBundle } from '../../src/bundle/proof/verify.ts';
import { toMirrorError } from '../../src/core/errors.ts';
import { buildBundle, makerKey } from './sealed-bundle.ts';

/** What a verifier says of a bundle: the exit code of `verify`. */
export async function verdictOf(directory: string, trust: Trust = { keys: [makerKey], required: 1 }): Promise<number> {
  try {
    const sealed = await openSealed(directory, trust);
    const { findings } = await verifyBundle(sealed, { threads: 1, onTotal: () => {}, onBytes: () => {} });
    return findings.length === 0 ? 0 : 4;
  } catch (error) {
    return toMirrorError(error).exit;
  }
}

/** Flips one bit in each `stride`th byte of each file of a small bundle that was approved, one at a time; returns where nobody noticed. */
export async function unnoticedFlips(place: string, stride: number): Promise<{ tried: number; unnoticed: string[] }> {
  const { directory } = await buildBundle(place, { 'hub/a': 300, 'hub/b': 0, 'oci/c': 700 }, { 'hub/link': 'a' });
  const trust = { keys: [makerKey, await approve(directory)], required: 2 };
  expect(await verdictOf(directory, trust)).toBe(0);
  const unnoticed: string[] = [];
  let tried = 0;
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const { size } = await stat(path);
    for (let offset = tried % stride; offset < size; offset += stride) {
      await flip(path, offset);
      const exit = await verdictOf(directory, trust);
      if (exit !== 4) unnoticed.push(`${name} at ${offset}: exit ${exit}`);
      await flip(path, offset);
      tried += 1;
    }
  }
  return { tried, unnoticed };
}

/** @returns the public key of who approved */
async function approve(directory: string): Promise<KeyObject> {
  const { privatePem, publicPem } = makeKeyPair();
  const key = readPublicKey(publicPem, 'officer');
  const about = { role: 'security officer', comment: 'ticket 4711', at: '2026-11-22T00:00:00.000Z' };
  const sums = await readFile(join(directory, bundleFiles.sums));
  const signed = signApproval(sums, readPrivateKey(privatePem, 'officer'), about);
  const { statement, signature } = approvalFiles(fingerprint(key));
  await writeFile(join(directory, statement), signed.statement);
  await writeFile(join(directory, signature), signed.signature);
  return key;
}

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0] = (byte[0] ?? 0) ^ (1 << (offset % 8));
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}
