import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { approvalFiles, approvalStatement, mostApprovals } from '../bundle/proof/approval.ts';
import { bundleFiles } from '../bundle/records/inventory.ts';
import { checkFileSet, readInventory } from '../bundle/reader.ts';
import { approvalStatements } from '../bundle/proof/signers.ts';
import { refuseFindings } from '../bundle/proof/verify.ts';
import { sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report } from '../core/report.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import type { Context } from './context.ts';
import { openBundle } from './records/sealed.ts';
import { openSigning, type SigningOptions } from './records/signing.ts';

/** With what who approves signs, and: */
export interface ApproveOptions extends SigningOptions {
  bundle: string;
  /** Its other directories, when it lies on several media: each gets the approval. */
  from?: readonly string[] | undefined;
  role: string;
  comment?: string | undefined;
  /** Path of the maker's public key. */
  maker: string;
}

/**
 * A second person's signature, beside the maker's. What it vouches for is what `verify` has found before.
 * @throws E_USAGE, E_SIGNATURE, E_MISSING, E_CORRUPT, E_DIGEST_MISMATCH, E_REFUSED for the maker's own key
 */
export async function approve(options: ApproveOptions, context: Context): Promise<Report> {
  const key = await openSigning(options, context, '--key');
  if (!key)
    throw new MirrorError('E_USAGE', 'no key was named to approve with', {
      hint: 'add `--key KEY`, or `--sign-cmd COMMAND` with `--sign-pub PUB.pem`',
    });
  const bundle = await openBundle(options.bundle, { keys: [options.maker], from: options.from }, context);
  const print = key.fingerprint;
  const files = approvalFiles(print);
  // What a broken run has left of this very approval is about to be written again.
  const own: string[] = Object.values(files);
  refuseFindings(checkFileSet(bundle).filter(({ file }) => !own.includes(file)));
  await readInventory(bundle);
  if (bundle.signers.some((signer) => signer.fingerprint === print))
    throw new MirrorError('E_REFUSED', `the key \`${print}\` is the maker's: nobody approves what they made`, {
      hint: 'approve with a key of another person, from `sie-mirror keygen`',
      at: { item: options.sign ?? options.signPublic ?? '' },
    });
  const others = approvalStatements(bundle.places).filter((name) => name !== files.statement);
  if (others.length >= mostApprovals)
    throw new MirrorError('E_REFUSED', `the bundle has ${others.length} approvals already, the most that it may have`, {
      hint: 'remove those whose keys nobody knows',
      at: { item: options.bundle },
    });
  const sums = await readFile(join(bundle.directory, bundleFiles.sums));
  // The file may have been changed since its signature was checked.
  if (sha256(sums) !== bundle.sumsDigest)
    throw new MirrorError('E_CORRUPT', `\`${bundleFiles.sums}\` changes while it is read`);
  const { role, comment } = options;
  const statement = approvalStatement(sums, print, { role, comment, at: new Date().toISOString() });
  const { plain: signature } = await key.sign(Buffer.from(statement));
  const directories = [options.bundle, ...(options.from ?? [])].map((directory) => context.path(directory));
  // An earlier statement goes first, everywhere, and the new one comes last: it never stands beside a signature of another.
  for (const directory of directories) await rm(join(directory, files.statement), { force: true });
  for (const directory of directories) await writeFileAtomic(join(directory, files.signature), signature);
  for (const directory of directories) await writeFileAtomic(join(directory, files.statement), statement);
  const from = (options.from ?? []).map((directory) => ` --from ${directory}`).join('');
  return makeReport(
    'approve',
    [{ kind: 'approval', name: files.statement, state: 'done', digest: print, detail: { role, comment } }],
    {},
    [
      `approved as ${role} by the key ${print}`,
      `${files.statement} and ${files.signature} belong to the bundle now; check both signatures with \`sie-mirror verify ${options.bundle}${from} --require 2 --key MAKER.pem --key APPROVER.pem\``,
    ],
  );
}
