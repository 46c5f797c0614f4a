import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { PackedList } from '../../src/bundle/lists/long-list.ts';
import type { SourceFile } from '../../src/bundle/writing/source-file.ts';
import { type Base, leaveOut } from '../../src/commands/records/base.ts';
import type { StoreContents } from '../../src/commands/store/store.ts';
import { sha256 } from '../../src/core/digest.ts';
import { testContext } from '../support/context.ts';
import { temporaryDirectory } from '../support/place.ts';

/** A store of files that all have the same bytes, which the zone has of some model. */
async function delta(paths: readonly string[], links: Record<string, string> = {}): Promise<string[]> {
  await using place = await temporaryDirectory();
  const bytes = Buffer.from('the same everywhere');
  const files = new PackedList<SourceFile>();
  const linked = new PackedList<{ path: string; link: string }>();
  const contents: StoreContents = { store: place.path, lock: undefined, models: [], images: [], files, links: linked };
  for (const path of paths) {
    const from = join(place.path, path);
    await mkdir(dirname(from), { recursive: true });
    await writeFile(from, bytes);
    files.push({ path, size: bytes.length });
  }
  for (const [path, link] of Object.entries(links)) linked.push({ path, link });
  const key = 'models--org--old/snapshots/x/file';
  const base: Base = { name: 'base', digest: sha256(''), models: new Map([[sha256(bytes), key]]), images: new Map() };
  const { context } = await testContext({ cwd: place.path });
  await leaveOut(contents, base, context);
  await context.close();
  return contents.files.map(({ path }) => path);
}

it('leaves out a file of a model that the zone has, be it a blob or without links', async () => {
  const blob = 'hub/models--org--new/blobs/aa';
  const links = { 'hub/models--org--new/snapshots/c/file': '../../blobs/aa' };
  expect(await delta([blob, 'hub/models--org--other/snapshots/c/file'], links)).toEqual([]);
});

it('carries what is no model, for nobody brings that to the zone but who unpacks the bundle', async () => {
  const paths = [
    'hub/datasets--org--data/blobs/aa',
    'hub/spaces--org--app/snapshots/c/file',
    'files/licences/models--org--new/c/LICENSE',
    'hub/models--org--new/refs/main',
  ];
  expect(await delta(paths)).toEqual(paths);
});

it('carries a blob of a model to which a dataset or a space leads', async () => {
  const blob = 'hub/models--org--new/blobs/aa';
  const links = { 'hub/spaces--org--app/blobs/aa': '../../models--org--new/blobs/aa' };
  expect(await delta([blob], links)).toEqual([blob]);
});
