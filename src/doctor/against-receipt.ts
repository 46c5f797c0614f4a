import { plural } from '../core/text.ts';
import { faultAt, type Finding } from './finding.ts';
import type { SeenModel } from './model-layout.ts';
import { importModels, restartWorkers, steps } from './names.ts';

/** What a receipt says of one model. */
export interface ExpectedModel {
  repo: string;
  commit: string;
  /** Keys below the store. */
  objects: { key: string; size: number }[];
}

const again = steps(importModels, `then, as workers keep what they have: ${restartWorkers}`);

/** Objects that were imported against those that are there, by name and size. */
export function receiptFindings(expected: ExpectedModel, seen: SeenModel | undefined, store: string): Finding[] {
  const sizes = new Map((seen?.objects ?? []).map(({ path, size }) => [`${seen?.folder ?? ''}/${path}`, size]));
  const missing = expected.objects.filter(({ key }) => !sizes.has(key));
  const other = expected.objects.filter(({ key, size }) => sizes.has(key) && sizes.get(key) !== size);
  const name = `${expected.repo}@${expected.commit.slice(0, 12)}`;
  const found: Finding[] = [];
  if (missing.length === expected.objects.length)
    return [
      faultAt(
        'bucket',
        name,
        'model-missing',
        `none of its ${plural(missing.length, 'object')} is in \`${store}\``,
        again,
      ),
    ];
  const [first] = missing;
  if (first)
    found.push(
      faultAt(
        'bucket',
        name,
        'model-incomplete',
        `${missing.length} of its ${expected.objects.length} objects are missing, like \`${first.key}\`: a worker takes what is there for the whole`,
        again,
      ),
    );
  for (const { key, size } of other.slice(0, 3))
    found.push(
      faultAt(
        'bucket',
        name,
        'content-wrong',
        `\`${key}\` has ${sizes.get(key) ?? 0} bytes, the receipt says ${size}`,
        again,
      ),
    );
  return found;
}

/** An object of the right size whose stored sha256 is another one. */
export function otherContent(expected: ExpectedModel, key: string, found: string, wanted: string): Finding {
  return faultAt(
    'bucket',
    `${expected.repo}@${expected.commit.slice(0, 12)}`,
    'content-wrong',
    `\`${key}\` has digest \`${found}\`, the receipt says \`${wanted}\``,
    again,
  );
}
