import { readFile } from 'node:fs/promises';
import { openSealed, type SealedBundle } from '../bundle/reader.ts';
import { fingerprint, readPublicKey } from '../bundle/seal.ts';
import type { Context } from './context.ts';

/** Opens a bundle; what was not proven is said aloud. */
export async function openBundle(
  directory: string,
  keyFile: string | undefined,
  context: Context,
): Promise<{ bundle: SealedBundle; keyFingerprint: string | undefined }> {
  const key = keyFile === undefined ? undefined : readPublicKey(await readFile(context.path(keyFile), 'utf8'), keyFile);
  const bundle = await openSealed(context.path(directory), key);
  if (!key && bundle.signed)
    context.report({
      type: 'warning',
      text: 'THE SIGNATURE OF THIS BUNDLE WAS NOT CHECKED: give the public key of its maker with --key',
    });
  if (!key && !bundle.signed)
    context.report({ type: 'warning', text: 'this bundle is not signed: nothing proves who made it' });
  return { bundle, keyFingerprint: key && fingerprint(key) };
}
