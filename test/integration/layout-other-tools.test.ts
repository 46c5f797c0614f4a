import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { contentOf } from '../../src/core/stream.ts';
import { WritableLayout, WritableView } from '../../src/oci/layout/layout.ts';
import { buildArtifact, descriptorOf } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';

/** What another tool, which knows no lock, does while the blobs of a layout are waited for. */
let meanwhile: () => Promise<void> = async () => Promise.resolve();

vi.mock('../../src/oci/layout/blob-folders.ts', async (original) => ({
  ...(await original<object>()),
  syncBlobs: async () => meanwhile(),
}));

it('an image that another tool enters while the blobs of ours are waited for stays in the layout', async () => {
  await using place = await temporaryDirectory();
  const layout = await WritableLayout.open(place.path);
  const index = join(place.path, 'index.json');
  const ours = buildArtifact({ seed: 'ours' });
  const theirs = buildArtifact({ seed: 'theirs' });
  const named = { ...descriptorOf(theirs), annotations: { 'org.opencontainers.image.ref.name': 'theirs' } };
  meanwhile = async () => {
    const known = JSON.parse(await readFile(index, 'utf8')) as { manifests: object[] };
    await writeFile(index, JSON.stringify({ ...known, manifests: [...known.manifests, named] }));
  };

  const view = new WritableView(layout, '');
  await view.push(descriptorOf(ours) as Descriptor, contentOf(ours.bytes));
  await view.tag(descriptorOf(ours) as Descriptor, 'ours');

  expect((await layout.named()).map(({ name }) => name).sort()).toEqual(['ours', 'theirs']);
});
