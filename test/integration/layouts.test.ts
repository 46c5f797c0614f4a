import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { copy } from '../../src/commands/copy.ts';
import { keygen } from '../../src/commands/keygen.ts';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { contentOf } from '../../src/core/stream.ts';
import { directoryTree } from '../../src/fs/tree.ts';
import { OciLayout, WritableLayout, WritableView } from '../../src/oci/layout/layout.ts';
import { layoutFiles, type SavedImage } from '../support/archives.ts';
import { blobOf } from '../support/contents.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  fallbackTag,
  type ImageDescriptor,
} from '../support/images.ts';
import { filesBelow } from '../support/place.ts';
import { placeTool } from '../support/tool.ts';
import { zonePlace } from '../support/zone-place.ts';

const place = zonePlace();

const image = buildImage({ seed: 'one' });
const other = buildImage({ seed: 'two' });
const index = buildIndex({ children: [image, other] });
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });

const named = (built: BuiltImage, name: string): ImageDescriptor => ({
  ...descriptorOf(built),
  annotations: { 'org.opencontainers.image.ref.name': name },
});

/** A layout as another tool may have left it. */
async function writeLayout(images: readonly BuiltImage[], manifests: readonly ImageDescriptor[]): Promise<void> {
  const saved: SavedImage[] = images.map((built) => ({ image: built }));
  for (const { path, bytes } of layoutFiles(saved, manifests)) {
    await mkdir(dirname(join(place.path, 'layout', path)), { recursive: true });
    await writeFile(join(place.path, 'layout', path), bytes);
  }
}

const blobFile = (digest: string): string => join(place.path, 'layout/blobs', digest.replace(':', '/'));

describe('an image of a layout is found', () => {
  it.each<[string, string, ImageDescriptor[], BuiltImage]>([
    ['alone, without a name, as crane leaves it', '', [descriptorOf(image)], image],
    ['alone beside what refers to it', '', [descriptorOf(image), descriptorOf(sbom)], image],
    ['by its name', ':v2', [named(image, 'v1'), named(other, 'v2')], other],
    ['by a name with colons', ':a:b:c', [named(image, 'a:b:c'), named(other, 'v2')], image],
    ['by a shorter name', ':nginx', [named(image, 'docker.io/library/nginx:latest'), named(other, 'v2')], image],
    ['by its place', '@1', [named(image, 'v1'), named(other, 'v2')], other],
    ['by its digest', `@${other.digest}`, [named(image, 'v1'), named(other, 'v2')], other],
    ['by its digest, though only its index is listed', `@${other.digest}`, [named(index, 'v1')], other],
    ['by name and digest', `:v2@${other.digest}`, [named(image, 'v1'), named(other, 'v2')], other],
    [
      'by repository and digest',
      `:r/a@${other.digest}`,
      [named(image, 'r/b:v1'), named(other, `r/a@${other.digest}`)],
      other,
    ],
    ['beside its signature', '', [named(image, 'r:v1'), named(other, `r:${cosignTag(image.digest)}`)], image],
  ])('%s', async (_, choice, manifests, wanted) => {
    await writeLayout([index, sbom], manifests);
    expect(await place.toZone(`oci:layout${choice}`)).toBe(wanted.digest);
  });

  it.each<[string, string, string, ImageDescriptor[]]>([
    ['that is not there', ':v3', 'E_NOT_FOUND', [named(image, 'v1')]],
    ['by a digest that is not there', `@sha256:${'0'.repeat(64)}`, 'E_NOT_FOUND', [named(image, 'v1')]],
    ['by a digest that is that of a layer', `@${[...image.blobs.keys()][1]}`, 'E_CORRUPT', [named(image, 'v1')]],
    ['by a name that has another digest', `:v1@${other.digest}`, 'E_DIGEST_MISMATCH', [named(image, 'v1')]],
    ['by no name and a digest', `:v3@${other.digest}`, 'E_NOT_FOUND', [named(image, 'v1')]],
    ['by half a digest', ':v1@sha256:abc', 'E_USAGE', [named(image, 'v1')]],
    ['without saying which', '', 'E_USAGE', [named(image, 'v1'), named(other, 'v2')]],
    ['without saying which, where none has a name', '', 'E_USAGE', [descriptorOf(image), descriptorOf(other)]],
    ['in an empty layout', '', 'E_NOT_FOUND', []],
  ])('but not one %s', async (_, choice, code, manifests) => {
    await writeLayout([index], manifests);
    expect(await codeOf(place.toZone(`oci:layout${choice}`))).toBe(code);
    expect(place.zone.repositories()).toEqual([]);
  });

  it('and what refers to it is not offered in its place', async () => {
    await writeLayout([index, sbom], [named(image, 'v1'), descriptorOf(sbom)]);

    const error = await failureOf(place.toZone('oci:layout:none'));

    expect(error.hint).toContain(':v1');
    expect(error.hint).not.toContain(sbom.digest);
  });

  it('and an error of two digests names both', async () => {
    await writeLayout([index], [named(image, 'v1')]);
    const { message } = await failureOf(place.toZone(`oci:layout:v1@${other.digest}`));
    expect(message).toContain(image.digest);
    expect(message).toContain(other.digest);
  });
});

describe('what refers to an image of a layout comes with it', () => {
  it.each<[string, BuiltImage[], ImageDescriptor[]]>([
    ['listed without a name', [image, sbom], [named(image, 'v1'), descriptorOf(sbom)]],
    ['listed with a name', [image, sbom], [named(image, 'v1'), named(sbom, 'the-sbom')]],
    ((list) => [
      'in a list by the fallback tag',
      [image, sbom, list],
      [named(image, 'v1'), named(list, fallbackTag(image.digest))],
    ])(buildIndex({ children: [sbom] })),
    ((list) => [
      'in a list that names the repository',
      [image, sbom, list],
      [named(image, 'r:v1'), named(list, `r:${fallbackTag(image.digest)}`)],
    ])(buildIndex({ children: [sbom] })),
  ])('%s', async (_, images, manifests) => {
    await writeLayout(images, manifests);
    await place.toZone(`oci:layout${manifests[0]?.annotations ? `@${image.digest}` : ''}`);
    expect(place.zone.manifest('app', sbom.digest)).toBeDefined();
  });

  it('but no list of what refers to something else', async () => {
    const list = buildIndex({ children: [other] });
    await writeLayout([image, other, list], [named(image, 'v1'), named(list, fallbackTag(image.digest))]);
    await place.toZone('oci:layout');
    expect(place.zone.manifest('app', other.digest)).toBeUndefined();
  });

  it('and what regctl lists and is missing is told', async () => {
    const list = buildIndex({ children: [sbom] });
    await writeLayout(
      [image, { ...list, manifests: new Map([[list.digest, list]]), blobs: new Map() }],
      [named(image, 'v1'), named(list, fallbackTag(image.digest))],
    );
    const error = await failureOf(place.toZone('oci:layout:v1'));
    expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
    expect(error.message).toContain(sbom.digest);
    expect(place.zone.manifest('app', 'x')?.digest).toBe(image.digest);
  });

  it('and an entry whose manifest is missing is told, if nothing but its subject leads to it', async () => {
    await writeLayout([image], [named(image, 'v1'), descriptorOf(sbom)]);
    const error = await failureOf(place.toZone('oci:layout'));
    expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
    expect(error.message).toContain(sbom.digest);
    expect(place.zone.manifest('app', 'x')?.digest).toBe(image.digest);
    await writeLayout([image], [named(image, 'v1'), named(other, 'v2')]);
    expect(await place.toZone('oci:layout:v1')).toBe(image.digest);
  });

  it('reads each manifest once, however many are asked for', async () => {
    const many = Array.from({ length: 40 }, (_, seed) => buildArtifact({ seed, subject: descriptorOf(image) }));
    await writeLayout([image, ...many], [named(image, 'v1'), ...many.map(descriptorOf)]);
    const reads = new Map<string, number>();
    const tree = directoryTree(join(place.path, 'layout'));
    const counted = {
      file: async (path: string) => {
        const content = await tree.file(path);
        return (
          content && {
            size: content.size,
            open: (offset: number) => {
              reads.set(path, (reads.get(path) ?? 0) + 1);
              return content.open(offset);
            },
          }
        );
      },
    };
    const layout = new OciLayout(counted, 'layout');
    for (const { digest } of [image, ...many]) await layout.referrersOf(digest as Descriptor['digest']);
    expect(Math.max(...reads.values())).toBe(1);
  });
});

describe('a damaged layout', () => {
  beforeEach(() => writeLayout([image, other], [named(image, 'v1')]));

  it.each<[string, string, string, string | undefined]>([
    ['an index that is not JSON', 'index.json', 'E_CORRUPT', '{"schemaVersion":2,"manif'],
    ['an empty index', 'index.json', 'E_CORRUPT', ''],
    ['an index of another schema', 'index.json', 'E_CORRUPT', '{"schemaVersion":1,"manifests":[]}'],
    [
      'an entry without digest',
      'index.json',
      'E_CORRUPT',
      '{"schemaVersion":2,"manifests":[{"mediaType":"x","size":1}]}',
    ],
    ['no index', 'index.json', 'E_CORRUPT', undefined],
    ['no version', 'oci-layout', 'E_CORRUPT', undefined],
    ['a version that is not JSON', 'oci-layout', 'E_CORRUPT', 'x'],
    ['another version', 'oci-layout', 'E_PROTOCOL', '{"imageLayoutVersion":"2.0.0"}'],
  ])('with %s is no source', async (_, file, code, text) => {
    if (text === undefined) await rm(join(place.path, 'layout', file));
    else await writeFile(join(place.path, 'layout', file), text);
    const error = await failureOf(place.toZone('oci:layout:v1'));
    expect([error.code, error.at.side]).toEqual([code, 'source']);
  });

  it.each([
    ['index.json', 'x', 'E_CORRUPT'],
    ['oci-layout', '{"imageLayoutVersion":"2.0.0"}', 'E_PROTOCOL'],
  ])('is no target either, before anything moves: %s', async (file, text, code) => {
    place.zone.put('app', other, 'v2');
    await writeFile(join(place.path, 'layout', file), text);
    const error = await failureOf(
      copy({ source: `${place.zone.host}/app:v2`, target: 'oci:layout', referrers: true }, place.context),
    );
    expect([error.code, error.at.side]).toEqual([code, 'target']);
    expect(await readFile(join(place.path, 'layout', file), 'utf8')).toBe(text);
  });

  it.each<[string, (path: string) => Promise<void>, string]>([
    [
      'of other bytes',
      async (path) => writeFile(path, Buffer.alloc((await readFile(path)).length)),
      'E_DIGEST_MISMATCH',
    ],
    ['cut off', (path) => truncate(path, 100), 'E_SIZE_MISMATCH'],
    ['missing', (path) => rm(path), 'E_NOT_FOUND'],
  ])('with a blob %s says which and that it is the source', async (_, damage, code) => {
    for (const digest of [image.digest, [...image.blobs.keys()].at(-1) ?? '']) {
      const kept = await readFile(blobFile(digest));
      await damage(blobFile(digest));
      const error = await failureOf(place.toZone('oci:layout:v1'));
      expect([error.code, error.at.side, error.at.item]).toEqual([code, 'source', 'oci:layout:v1']);
      expect(error.message).toContain(digest);
      expect(place.zone.tags('app')).toEqual([]);
      await writeFile(blobFile(digest), kept);
    }
  });

  it('is mended as a target where a blob has another size', async () => {
    place.zone.put('app', image, 'v1');
    const [digest = ''] = image.blobs.keys();
    await truncate(blobFile(digest), 3);
    await copy({ source: `${place.zone.host}/app:v1`, target: 'oci:layout', referrers: true }, place.context);
    expect(await readFile(blobFile(digest))).toHaveLength(image.blobs.get(digest)?.length ?? 0);
  });
});

describe('several writers in one layout', () => {
  it('keep each other’s entries, and what other tools wrote of theirs', async () => {
    await writeLayout([image], [{ ...named(image, 'v1'), platform: { os: 'linux', architecture: 'amd64' } }]);
    const views = await Promise.all(
      Array.from({ length: 8 }, async (_, number) => {
        const layout = await WritableLayout.open(join(place.path, 'layout'));
        return { number, view: new WritableView(layout, 'r') };
      }),
    );
    await Promise.all(
      views.flatMap(({ number, view }) =>
        [1, 2, 3].map(async (part) => {
          const built = buildArtifact({ seed: `${number} ${part}` });
          await view.push(descriptorOf(built) as Descriptor, contentOf(built.bytes));
          await view.tag(descriptorOf(built) as Descriptor, `t${number}-${part}`);
        }),
      ),
    );
    const layout = new OciLayout(directoryTree(join(place.path, 'layout')), 'layout');
    expect(await layout.named()).toHaveLength(25);
    expect((await layout.index()).manifests[0]).toMatchObject({ platform: { os: 'linux' } });
    expect((await filesBelow(place.path)).filter((path) => /partial|lock/.test(path))).toEqual([]);
  });

  it('write the index no more often than there is something new', async () => {
    const layout = await WritableLayout.open(join(place.path, 'layout'));
    const view = new WritableView(layout, 'r');
    const entry = blobOf(Buffer.from('x'));
    await view.push(entry, contentOf(Buffer.from('x')));
    await view.tag(entry, 'v1');
    const before = (await readFile(join(place.path, 'layout/index.json'))).toString();
    await rm(join(place.path, 'layout/index.json'));
    await writeFile(join(place.path, 'layout/index.json'), `${before}\n`);
    await view.tag(entry, 'v1');
    expect((await readFile(join(place.path, 'layout/index.json'))).toString()).toBe(`${before}\n`);
  });

  it('have one index, however many ask for it at once', async () => {
    await WritableLayout.open(join(place.path, 'layout'));
    const tree = directoryTree(join(place.path, 'layout'));
    const layout = new OciLayout(tree, 'layout');

    const [one, two] = await Promise.all([layout.index(), layout.index()]);

    expect(one).toBe(two);
  });

  it('find what a killed one left of the index cleared away', async () => {
    await mkdir(join(place.path, 'layout'));
    await writeFile(join(place.path, 'layout/index.json.0123abcd.partial'), '{');
    place.zone.put('app', image, 'v1');
    await copy({ source: `${place.zone.host}/app:v1`, target: 'oci:layout', referrers: true }, place.context);
    expect((await filesBelow(place.path)).filter((path) => path.endsWith('.partial'))).toEqual([]);
  });
});

describe('a bundle', () => {
  const signature = cosignSignature(image);

  async function makeBundle(sign?: string): Promise<void> {
    const large = buildImage({ seed: 'large', layerBytes: 100_000 });
    place.zone.put('team/large', large, 'v3');
    place.zone.put('team/app', index, 'v1');
    place.zone.put('team/app', sbom);
    place.zone.put('team/app', signature, cosignTag(image.digest));
    place.zone.put('team/other', other, 'v2');
    for (const name of ['team/app:v1', 'team/other:v2', 'team/large:v3'])
      await copy({ source: `${place.zone.host}/${name}`, target: 'oci:store/oci', referrers: true }, place.context);
    const withTool = { ...place.context, toolFile: await placeTool(place.path) };
    await bundle({ store: 'store', out: '.', name: 'b', sign, volumeSize: 64 * 1024 }, withTool);
  }

  it('is a source of each of its images, with signatures and referrers, over volumes', async () => {
    await makeBundle();
    expect(await place.toZone(`bundle:b:${place.zone.host}/team/app:v1`, 'copied:x')).toBe(index.digest);
    expect(place.zone.manifest('copied', sbom.digest)).toBeDefined();
    expect(place.zone.manifest('copied', cosignTag(image.digest))?.digest).toBe(signature.digest);
    expect(await place.toZone(`bundle:b@${other.digest}`, 'copied:y')).toBe(other.digest);
    expect(await place.toZone(`bundle:b:${place.zone.host}/team/large:v3`, 'copied:z')).toMatch(/^sha256:/);
    expect((await filesBelow(join(place.path, 'b'))).filter((path) => path.endsWith('.tar')).length).toBeGreaterThan(2);
    expect(await codeOf(place.toZone('bundle:b'))).toBe('E_USAGE');
    const report = await copy(
      { source: `bundle:b:${place.zone.host}/team/other:v2`, target: 'oci:out', referrers: true },
      place.context,
    );
    expect(report).toMatchObject({ ok: true });
  });

  it('is not made of what is called by sha512, which is told', async () => {
    const sha512 = buildArtifact({ seed: 'sha512', algorithm: 'sha512' });
    place.zone.put('team/sha512', sha512, 'v1');
    const source = `${place.zone.host}/team/sha512:v1`;
    await copy({ source, target: 'oci:store/oci', referrers: true }, place.context);
    const withTool = { ...place.context, toolFile: await placeTool(place.path) };
    const error = await failureOf(bundle({ store: 'store', out: '.', name: 'b' }, withTool));
    expect(error.code).toBe('E_REFUSED');
    expect(error.message).toContain('team/sha512');
  });

  it('is not made of a store that has lost what belongs to an image', async () => {
    await makeBundle();
    await rm(join(place.path, 'store/oci/blobs', sbom.digest.replace(':', '/')));
    const withTool = { ...place.context, toolFile: await placeTool(place.path) };
    const error = await failureOf(bundle({ store: 'store', out: '.', name: 'c' }, withTool));
    expect(error.code).toBe('E_NOT_FOUND');
    expect(error.message).toContain(sbom.digest);
  });

  it('is proven by the key of its maker, or not read', async () => {
    await keygen({ out: '.' }, place.context);
    await makeBundle('sie-mirror.key.pem');
    const source = `bundle:b:${place.zone.host}/team/other:v2`;
    const target = `${place.zone.host}/copied:x`;
    expect(await copy({ source, target, referrers: true, keys: ['sie-mirror.pub.pem'] }, place.context)).toMatchObject({
      ok: true,
    });
    const sums = await readFile(join(place.path, 'b/SHA256SUMS'), 'utf8');
    await writeFile(join(place.path, 'b/SHA256SUMS'), `${sums}\n`);
    expect(await codeOf(copy({ source, target, referrers: true, keys: ['sie-mirror.pub.pem'] }, place.context))).toBe(
      'E_SIGNATURE',
    );
  });

  it('that lacks a volume, or has a wrong byte in one, is refused', async () => {
    await makeBundle();
    const source = `bundle:b:${place.zone.host}/team/app:v1`;
    const volumes = (await filesBelow(join(place.path, 'b'))).filter((path) => path.endsWith('.tar'));
    for (const name of volumes) {
      const path = join(place.path, 'b', name);
      const kept = await readFile(path);
      await rm(path);
      expect(await codeOf(place.toZone(source, 'copied:x'))).toBe('E_MISSING');
      await writeFile(path, kept);
    }
    for (const name of volumes) {
      const path = join(place.path, 'b', name);
      await writeFile(
        path,
        (await readFile(path)).map((byte) => byte ^ 1),
      );
    }
    expect(await codeOf(place.toZone(source, 'copied:x'))).toBe('E_DIGEST_MISMATCH');
    expect(place.zone.tags('copied')).toEqual([]);
  });
});

it('an image that is copied by its digest is listed in the layout', async () => {
  place.zone.put('app', image, 'v1');
  await copy({ source: `${place.zone.host}/app@${image.digest}`, target: 'oci:out', referrers: true }, place.context);
  const { manifests } = await new OciLayout(directoryTree(join(place.path, 'out')), 'out').index();
  expect(manifests.map(({ digest }) => digest)).toEqual([image.digest]);
});

it('a medium that is read-only is named as the target', async () => {
  place.zone.put('app', image, 'v1');
  const error = await failureOf(
    copy({ source: `${place.zone.host}/app:v1`, target: 'oci:/sys/kernel/layout', referrers: true }, place.context),
  );
  expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
});

it('blobs of sha512 are carried through layouts', async () => {
  const long = buildImage({ seed: 'long', algorithm: 'sha512' });
  await writeLayout([long], [named(long, 'v1')]);
  expect(await copy({ source: 'oci:layout', target: 'oci:out:v1', referrers: true }, place.context)).toMatchObject({
    ok: true,
  });
  expect(await place.toZone('oci:out')).toBe(long.digest);
});
