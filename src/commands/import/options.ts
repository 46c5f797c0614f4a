import type { Inventory } from '../../bundle/records/inventory.ts';
import { MirrorError } from '../../core/errors.ts';
import { parseReference } from '../../oci/reference.ts';
import type { BundlePlace } from '../records/sealed.ts';
import type { SigningOptions } from '../records/signing.ts';
import type { FormOptions } from './model-images.ts';
import type { HubLayout } from './models.ts';
import type { TidyOptions } from './surplus.ts';

export interface ImportOptions extends BundlePlace, TidyOptions, SigningOptions, FormOptions {
  bundle: string;
  /** `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `file://DIR` or `oci://HOST/PREFIX`. */
  models?: string | undefined;
  /** `HOST[/PREFIX]` */
  images?: string | undefined;
  /** `oci://HOST[/PREFIX]`, or a directory or `s3://BUCKET/PREFIX` for the `.tgz`; with the images when not given. */
  charts?: string | undefined;
  /** A directory or `s3://BUCKET/PREFIX` for single files. */
  files?: string | undefined;
  /** Path of the receipt; beside the working directory when not given. */
  receipt?: string | undefined;
  /** Below the target of the models: `PREFIX/RELEASE/models`. */
  release?: string | undefined;
  layout?: HubLayout | undefined;
  /** Bring only this machine's share: see `parseShard`. */
  shard?: string | undefined;
  /** Make visible what the shards have brought, and prove it. */
  finish?: boolean | undefined;
  /** Read what is there, and believe no receipt. */
  verify?: boolean | undefined;
}

/** @throws E_USAGE for what makes no sense, or not together */
export function checkOptions({ images, models, charts, files, shard, finish, prune, repair }: ImportOptions): void {
  if (shard !== undefined && (finish || prune || repair))
    throw new MirrorError('E_USAGE', '`--shard` brings a part: `--finish`, `--prune` and `--repair` are for the end', {
      hint: 'run every shard first, and then once with `--finish` (and `--prune`, `--repair`)',
    });
  if ([images, models, charts, files].every((target) => target === undefined))
    throw new MirrorError('E_USAGE', 'no target was given', {
      hint: 'add `--models s3://BUCKET/PREFIX`, `--images REGISTRY/PREFIX`, `--charts`, `--files`, or several of them',
    });
  if (charts?.startsWith('oci://') === true) parseReference(`${charts.slice('oci://'.length).replace(/\/+$/, '')}/x`);
  if (images === undefined) return;
  if (images.includes('://'))
    throw new MirrorError('E_USAGE', `\`--images ${images}\`: HOST[:PORT][/PREFIX] was wanted, without a scheme`);
  parseReference(`${images}/x`);
}

/** @throws E_USAGE for a bundle of which the targets take nothing */
export function checkTaken({ items }: Inventory, options: ImportOptions): void {
  if (options.charts !== undefined || options.files !== undefined) return;
  const lacks = (kind: string, flag: string): MirrorError =>
    new MirrorError('E_USAGE', `the bundle holds ${kind} and no target for them was given`, { hint: `add ${flag}` });
  if (options.models !== undefined && options.images === undefined && items.every(({ kind }) => kind === 'image'))
    throw lacks('images', '`--images REGISTRY/PREFIX`');
  if (options.images !== undefined && options.models === undefined && items.every(({ kind }) => kind === 'model'))
    throw lacks('models', '`--models s3://BUCKET/PREFIX`');
}

/** A place of its own for each release: workers are moved to it by its address, when all of it is there. @throws E_USAGE */
export function ofRelease(models: string, release: string | undefined): string {
  if (release === undefined) return models;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(release))
    throw new MirrorError('E_USAGE', `\`--release ${release}\`: letters, digits, \`.\`, \`_\` and \`-\` were wanted`);
  return `${models.replace(/\/+$/, '')}/${release}/models`;
}
