import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BatchWriter } from '../../../src/fs/batch-writer.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

it.each([
  ['that is quick', Number.POSITIVE_INFINITY],
  ['that is slow', -1],
])('chunks of all sizes stand one after the other on a medium %s', async (_, patienceMs) => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'file');
  const sizes = [1, 300 * 1024, 7, 256 * 1024, 256 * 1024 - 1, 1, 2];
  const chunks = sizes.map((size, index) => Buffer.from(seededBytes(`chunk ${index}`, size)));
  const before = Buffer.from('before');
  await using file = await open(path, 'w');
  await file.write(before);
  const writer = new BatchWriter(file, before.length, patienceMs);

  for (const chunk of chunks) await writer.write(chunk);
  await writer.flush();

  expect((await readFile(path)).equals(Buffer.concat([before, ...chunks]))).toBe(true);
});
