import { stat } from 'node:fs/promises';
import { checkFileSet, checkSizes, openSealed, readInventory } from '../../bundle/reader.ts';
import { trustNobody } from '../../bundle/proof/signers.ts';
import { toMirrorError } from '../../core/errors.ts';
import { plural } from '../../core/text.ts';
import { faultAt, type Finding, ok } from '../../doctor/finding.ts';
import { steps } from '../../doctor/names.ts';
import { quoted } from '../../doctor/shell.ts';
import type { Context } from '../context.ts';
import { newerThanUs } from './tool.ts';

/** What can be seen of a bundle without reading it all: the set of its files, their sizes, and the inventory's own sum. */
export async function checkBundle(directory: string, context: Context): Promise<Finding[]> {
  const damaged = (evidence: string): Finding =>
    faultAt(
      'bundle',
      directory,
      'bundle-damaged',
      evidence,
      steps('copy that file again from where the bundle was made', `then: sie-mirror verify ${quoted(directory)}`),
    );
  if (!(await exists(context.path(directory))))
    return [
      faultAt(
        'bundle',
        directory,
        'bundle-missing',
        `there is no directory \`${directory}\``,
        steps('see where the medium is mounted, or mount it: findmnt', 'then name the directory that holds SHA256SUMS'),
      ),
    ];
  try {
    const sealed = await openSealed(context.path(directory), trustNobody);
    const findings = checkFileSet(sealed).map(({ message }) => damaged(message));
    const inventory = await readInventory(sealed);
    findings.push(...checkSizes(sealed, inventory).map(({ message }) => damaged(message)));
    if (findings.length > 0) return findings;
    return [
      ok(
        'bundle',
        directory,
        `${plural(sealed.sums.size, 'file')} as SHA256SUMS lists them, in their sizes; sie-mirror verify reads every byte`,
      ),
      ...newerThanUs([inventory.tool]),
    ];
  } catch (error) {
    const known = toMirrorError(error);
    if (known.exit !== 4 && known.code !== 'E_NOT_FOUND') throw known;
    return [damaged(known.message)];
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => toMirrorError(error).code !== 'E_NOT_FOUND',
  );
}
