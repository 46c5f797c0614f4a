import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CarriedFile } from '../../bundle/writing/carried.ts';
import { bundleFiles } from '../../bundle/records/inventory.ts';
import { MirrorError } from '../../core/errors.ts';
import { contentOf } from '../../core/stream.ts';
import type { Context } from '../context.ts';

/**
 * This very tool in one file, and the licences of all that is in it: a bundle carries both.
 * @throws E_NOT_FOUND
 */
export async function readTool({ toolFile }: Context): Promise<CarriedFile[]> {
  const paths = {
    [bundleFiles.tool]: toolFile,
    [bundleFiles.licences]: toolFile === undefined ? undefined : join(dirname(toolFile), bundleFiles.licences),
  };
  return Promise.all(
    Object.entries(paths).map(async ([name, path]) => {
      const bytes = path === undefined ? undefined : await readFile(path).catch(() => undefined);
      if (!bytes)
        throw new MirrorError('E_NOT_FOUND', `the tool's own file \`${name}\` is not there, and a bundle carries it`, {
          hint: 'run `npm run build` first; a `sie-mirror.mjs` that was copied alone needs its `LICENSES.txt` beside it',
        });
      return { name, content: contentOf(bytes), sha256: createHash('sha256').update(bytes).digest('hex') };
    }),
  );
}
