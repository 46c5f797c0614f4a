import { sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { approvalFiles, isApprovalFile, readApproval } from '../../../src/bundle/proof/approval.ts';
import { fingerprint, makeKeyPair, readPrivateKey, readPublicKey } from '../../../src/bundle/proof/seal.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { signApproval } from '../../support/approvals.ts';
import { codeOfCall } from '../../support/failures.ts';

const pair = makeKeyPair();
const key = readPrivateKey(pair.privatePem, 'key');
const trusted = [readPublicKey(pair.publicPem, 'pub')];
const sums = Buffer.from('the sums of a bundle\n');
const about = { role: 'security officer', comment: 'ticket 4711', at: '2026-11-21T10:00:00.000Z' };
const signed = (of: Uint8Array = sums): { statement: Buffer; signature: Buffer } => {
  const { statement, signature } = signApproval(of, key, about);
  return { statement: Buffer.from(statement), signature: Buffer.from(signature) };
};

describe('an approval', () => {
  it('is read back as it was given', () => {
    const approval = readApproval('a', signed(), sha256(sums), trusted);
    expect(approval).toMatchObject({ ...about, key: fingerprint(key), sums: sha256(sums) });
  });

  it('by a key that is not trusted counts for nothing', () => {
    const stranger = readPublicKey(makeKeyPair().publicPem, 'pub');
    expect(readApproval('a', signed(), sha256(sums), [stranger])).toBeUndefined();
  });

  it('of another bundle is refused, though its signature is good', () => {
    const other = signed(Buffer.from('the sums of another bundle\n'));
    expect(codeOfCall(() => readApproval('a', other, sha256(sums), trusted))).toBe('E_SIGNATURE');
  });

  it('that names a trusted key and is signed by another one is refused', () => {
    const forged = signApproval(sums, readPrivateKey(makeKeyPair().privatePem, 'key'), about);
    const statement = Buffer.from(signed().statement);
    const signature = Buffer.from(forged.signature);
    expect(codeOfCall(() => readApproval('a', { statement, signature }, sha256(sums), trusted))).toBe('E_SIGNATURE');
  });

  it.each(['', '{}', '[]', 'null', '{"__proto__":1}', JSON.stringify({ ...about, schema: 'x' })])(
    'that reads %j is corrupt',
    (text) => {
      const files = { statement: Buffer.from(text), signature: signed().signature };
      expect(codeOfCall(() => readApproval('a', files, sha256(sums), trusted))).toBe('E_CORRUPT');
    },
  );

  it.each<[string, (text: string) => Buffer]>([
    ['says a thing twice', (text) => Buffer.from(text.replace('"role"', '"role": "intern", "role"'))],
    ['has bytes that are no UTF-8', (text) => Buffer.from(text.replace('4711', '\u00ff'), 'latin1')],
  ])('that %s is corrupt, though its signature is good: others would read it otherwise', (_, change) => {
    const statement = change(signed().statement.toString());
    const signature = Buffer.from(sign('sha256', statement, key).toString('base64'));
    expect(codeOfCall(() => readApproval('a', { statement, signature }, sha256(sums), trusted))).toBe('E_CORRUPT');
  });

  it.each([
    ['no role', { role: '' }],
    ['a role without end', { role: 'x'.repeat(201) }],
    ['a comment without end', { comment: 'x'.repeat(2001) }],
    ['a role that steers a terminal', { role: 'off\u001b[2Jicer' }],
    ['a comment that turns what follows it round', { comment: 'ticket \u202e1174' }],
  ])('with %s is refused when it is made, for nobody could read it', (_, wrong) => {
    expect(codeOfCall(() => signApproval(sums, key, { ...about, ...wrong }))).toBe('E_USAGE');
  });

  it('may have a comment of several lines', () => {
    expect(signApproval(sums, key, { ...about, comment: 'seen\nand found good' }).statement).toContain('seen');
  });

  it('has files that a bundle may hold, and nothing else may call itself so', () => {
    const { statement, signature } = approvalFiles(fingerprint(key));
    expect([statement, signature].every(isApprovalFile)).toBe(true);
    const strangers = [
      'SHA256SUMS.approval-.json',
      'SHA256SUMS.approval-0123456789abcdef.exe',
      `x${statement}`,
      `${statement}.x`,
    ];
    expect(strangers.some(isApprovalFile)).toBe(false);
  });
});
