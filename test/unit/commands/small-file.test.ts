import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSmallFile } from '../../../src/commands/records/small-file.ts';
import { toMirrorError } from '../../../src/core/errors.ts';
import { testContext } from '../../support/context.ts';
import { codeOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

it('a file that is given as a key is read whole, unless it is none by its size', async () => {
  await using place = await temporaryDirectory();
  const { context } = await testContext({ cwd: place.path });
  await writeFile(join(place.path, 'key'), 'k'.repeat(65_536));
  await writeFile(join(place.path, 'weights'), Buffer.alloc(65_537));

  expect(await readSmallFile('key', context)).toHaveLength(65_536);
  expect(await codeOf(readSmallFile('weights', context))).toBe('E_USAGE');
  await context.close();
});

it('a directory that is given as a key is named', async () => {
  await using place = await temporaryDirectory();
  const { context } = await testContext({ cwd: place.path });
  await mkdir(join(place.path, 'keys'));

  const error = toMirrorError(await readSmallFile('keys', context).catch((each: unknown) => each));

  expect(error).toMatchObject({ code: 'E_PATH', message: expect.stringContaining('keys') as string });
  await context.close();
});
