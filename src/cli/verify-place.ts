import { dirname, resolve } from 'node:path';
import type { Context } from '../commands/context.ts';
import { MirrorError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import type { Subject } from './command-row.ts';
import { list, text, trust } from './flags.ts';

/** Flags of `verify` that belong to one kind of place only. */
const bundleOnly = ['key', 'require', 'from', 'partial'];

/**
 * A bundle, a store, or what lies in the zone: which one is said by how it is named.
 * @throws E_USAGE when none is named, or flags do not go together
 */
export async function runVerify(
  place: string | undefined,
  flags: Record<string, unknown>,
  context: Context,
): Promise<Report> {
  const store = text(flags['store']);
  const images = text(flags['registry']);
  const bucket = place !== undefined && isBucket(place);
  if (store !== undefined) {
    refuse(flags, [...bundleOnly, 'registry', 'receipt'], '`--store`');
    if (place !== undefined) throw new MirrorError('E_USAGE', `\`${place}\` and \`--store\` are two places: name one`);
    return (await import('../commands/verify/store.ts')).verifyStore(store, context);
  }
  if (bucket || images !== undefined) {
    // A key says whose receipt it has to be.
    const other = flags['receipt'] === undefined ? bundleOnly : bundleOnly.filter((name) => name !== 'key');
    refuse(flags, other, images === undefined ? `\`${place}\`` : '`--registry`');
    if (place !== undefined && !bucket)
      throw new MirrorError('E_USAGE', `\`${place}\` is no bucket, and \`--registry\` is checked with one only`, {
        hint: 'name it as `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `file:///DIR`, or check the bundle by a command of its own',
      });
    const { verifyZone } = await import('../commands/verify/zone.ts');
    return verifyZone({ models: place, images, receipts: list(flags['receipt']), ...trust(flags) }, context);
  }
  if (place === undefined)
    throw new MirrorError('E_USAGE', 'nothing to verify was named', {
      hint: 'name a bundle, `--store DIR`, `s3://BUCKET/PREFIX` (`gs:`, `file:`) or `--registry HOST/PREFIX`',
    });
  refuse(flags, ['receipt'], `the bundle \`${place}\``);
  const { verify } = await import('../commands/verify.ts');
  return verify(
    { bundle: place, partial: flags['partial'] === true, from: list(flags['from']), ...trust(flags) },
    context,
  );
}

/** A report that lies in a bundle is a file too many, for the next who verifies it. @throws E_USAGE */
export function refuseOutputsInside([place]: readonly string[], flags: Record<string, unknown>): void {
  if (place === undefined || isBucket(place)) return;
  const directories = [place, ...list(flags['from'])].map((each) => resolve(each));
  for (const name of ['junit', 'html']) {
    const file = text(flags[name]);
    if (file !== undefined && directories.includes(dirname(resolve(file))))
      throw new MirrorError('E_USAGE', `\`--${name} ${file}\` lies in the bundle, where nothing else may be`, {
        hint: 'name a file somewhere else',
      });
  }
}

function isBucket(place: string): boolean {
  return /^(?:s3|gs|file):/.test(place);
}

/** What a verdict is about, as it was named. */
export function verifiedPlace(flags: Record<string, unknown>, [place]: readonly string[]): Subject | undefined {
  const named = [place, text(flags['store']), text(flags['registry'])].filter((each) => each !== undefined);
  return named.length === 0 ? undefined : { kind: 'place', name: named.join(', ') };
}

function refuse(flags: Record<string, unknown>, names: readonly string[], place: string): void {
  const given = names.find((name) => flags[name] !== undefined);
  if (given !== undefined)
    throw new MirrorError('E_USAGE', `\`--${given}\` says nothing of ${place}`, {
      hint: 'see `sie-mirror verify --help`',
    });
}
