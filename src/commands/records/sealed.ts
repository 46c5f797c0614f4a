import type { KeyObject } from 'node:crypto';
import type { Inventory } from '../../bundle/records/inventory.ts';
import {
  checkFileSet,
  checkSizes,
  type Finding,
  openSealed,
  readInventory,
  type SealedBundle,
} from '../../bundle/reader.ts';
import { fingerprint, readPublicKey } from '../../bundle/proof/seal.ts';
import type { Trust } from '../../bundle/proof/signers.ts';
import { refuseFindings } from '../../bundle/proof/verify.ts';
import { MirrorError } from '../../core/errors.ts';
import type { Context } from '../context.ts';
import { readSmallFile } from './small-file.ts';

/** Whom to trust: `--key`, which can be given again, and `--require`. */
export interface TrustOptions {
  /** Paths of public keys. */
  keys?: readonly string[] | undefined;
  /** How many of them have to have signed; 1 when there is a key. */
  require?: number | undefined;
}

/** A bundle may lie on several media: `--from` names more of its directories. */
export interface BundlePlace extends TrustOptions {
  from?: readonly string[] | undefined;
}

/**
 * Opens a bundle to take something out of it: every file has to be there in its size, and the inventory proven. Contents
 * are proven while they move.
 * @throws E_MISSING, E_SIGNATURE, E_CORRUPT, E_DIGEST_MISMATCH, E_NOT_FOUND
 */
export async function openWhole(
  directory: string,
  options: TrustOptions,
  context: Context,
): Promise<{ bundle: SealedBundle; inventory: Inventory }> {
  const { bundle, inventory } = await openHere(directory, options, context);
  refuseFindings(checkFileSet(bundle));
  return { bundle, inventory };
}

/** The same, but volumes may be on media that are not here. */
export async function openHere(
  directory: string,
  options: BundlePlace,
  context: Context,
): Promise<{ bundle: SealedBundle; inventory: Inventory }> {
  const bundle = await openBundle(directory, options, context);
  const findings = checkFileSet(bundle);
  const isVolume = ({ file, problem }: Finding): boolean => problem === 'missing' && file.endsWith('.tar');
  refuseFindings(findings.filter((finding) => !isVolume(finding)));
  const inventory = await readInventory(bundle);
  refuseFindings(checkSizes(bundle, inventory));
  return { bundle, inventory };
}

/** Opens a bundle; what was not proven is said aloud. @throws E_USAGE, E_SIGNATURE, E_MISSING, E_CORRUPT */
export async function openBundle(directory: string, options: BundlePlace, context: Context): Promise<SealedBundle> {
  const bundle = await openSealed(
    context.path(directory),
    await readTrust(options, context),
    (options.from ?? []).map((each) => context.path(each)),
  );
  if (bundle.signers.length > 0) return bundle;
  const text = bundle.signed
    ? 'THE SIGNATURE OF THIS BUNDLE WAS NOT CHECKED: give the public key of its maker with --key'
    : 'this bundle is not signed: nothing proves who made it';
  context.report({ type: 'warning', text });
  return bundle;
}

/** @throws E_USAGE */
export async function readTrust({ keys: files = [], require }: TrustOptions, context: Context): Promise<Trust> {
  const keys: KeyObject[] = [];
  for (const file of files) keys.push(readPublicKey(await readSmallFile(file, context), file));
  const different = new Set(keys.map(fingerprint)).size;
  const required = require ?? Math.min(different, 1);
  if (required > different)
    throw new MirrorError(
      'E_USAGE',
      `\`--require ${required}\` wants ${required} different keys, ${different} were given`,
      {
        hint: 'give each public key with a `--key` of its own',
      },
    );
  return { keys, required };
}
