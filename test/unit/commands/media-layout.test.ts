import { expect, it } from 'vitest';
import type { BundleReader } from '../../../src/bundle/reader.ts';
import type { BundleBlob, ImageItem } from '../../../src/bundle/records/inventory.ts';
import { layoutOverMedia } from '../../../src/commands/import/media-layout.ts';
import { MediaToCome } from '../../../src/commands/import/media.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { contentOf } from '../../../src/core/stream.ts';
import { layoutIndexFile } from '../../../src/oci/layout/layout.ts';
import { AssembledImage } from '../../../src/oci/assembled.ts';
import { testContext } from '../../support/context.ts';
import { codeOf } from '../../support/failures.ts';

it.each(['{', '{}', '{"schemaVersion":2,"manifests":[{"digest":"../x"}]}'])(
  'an index.json that is %j on the medium is damage, and no bug of ours',
  async (text) => {
    const bytes = Buffer.from(text);
    const digest = sha256(bytes);
    const blob: BundleBlob = { path: `oci/${layoutIndexFile}`, digest, size: bytes.length, parts: [] };
    const reader = {
      find: (name: string) => (name === blob.path ? blob : undefined),
      lacking: () => [],
      tree: () => ({ file: () => Promise.resolve(contentOf(bytes)) }),
    } as unknown as BundleReader;
    const item: ImageItem = {
      kind: 'image',
      reference: 'a/b:c',
      root: { mediaType: 'x', digest, size: 1 },
      digests: [digest],
    };
    const { context } = await testContext({ cwd: '/' });
    const run = { reader, media: new MediaToCome(), context };
    const target = Object.assign(new AssembledImage(), { push: fails, tag: fails, attach: fails });

    const layout = await layoutOverMedia(run, item, { here: [blob], lacking: [] }, target);
    expect(await codeOf(layout.index())).toBe('E_CORRUPT');
    await context.close();
  },
);

function fails(): Promise<never> {
  throw new Error('nothing is to be written');
}
