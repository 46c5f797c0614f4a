import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { copy } from '../../src/commands/copy.ts';
import {
  archiveOf,
  craneTarball,
  dockerSave,
  dockerSaveOfLayout,
  layoutFiles,
  partsOf,
  podmanSave,
  type SavedImage,
} from '../support/archives.ts';
import { digestOf } from '../support/digest.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { buildArtifact, buildImage, buildIndex, descriptorOf } from '../support/images.ts';
import { type TarFile, tarOf } from '../support/tar.ts';
import { zonePlace } from '../support/zone-place.ts';

const place = zonePlace();

const image = buildImage({ seed: 'one', docker: true, layers: 3 });
const other = buildImage({ seed: 'two', docker: true });
const tagged: SavedImage = { image, tags: ['team/app:v1'] };

async function put(bytes: Uint8Array, name = 'image.tar'): Promise<void> {
  await writeFile(join(place.path, name), bytes);
}

interface Manifest {
  mediaType: string;
  config: { digest: string; mediaType: string };
  layers: { digest: string; mediaType: string; size: number }[];
}

function manifestAt(repository: string, tag: string): Manifest {
  const bytes = place.zone.manifest(repository, tag)?.bytes ?? Buffer.alloc(0);
  return JSON.parse(Buffer.from(bytes).toString()) as Manifest;
}

describe('an archive of the old form', () => {
  it.each([
    ['docker save', dockerSave],
    ['podman save and skopeo', podmanSave],
  ])('by %s becomes a docker image with its config and plain layers', async (_, save) => {
    await put(save([tagged]));

    await place.toZone('docker-archive:image.tar');

    const manifest = manifestAt('app', 'x');
    const { config, layers } = partsOf(image);
    expect(manifest.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json');
    expect(manifest.config).toMatchObject({ digest: digestOf(config) });
    expect(manifest.layers).toEqual(
      layers.map((layer) => {
        const plain = gunzipSync(layer);
        const mediaType = 'application/vnd.docker.image.rootfs.diff.tar';
        return { mediaType, digest: digestOf(plain), size: plain.length };
      }),
    );
  });

  it('by crane keeps its compressed layers', async () => {
    await put(craneTarball([tagged]));

    await place.toZone('docker-archive:image.tar');

    expect(manifestAt('app', 'x').layers.map(({ digest }) => digest)).toEqual(
      partsOf(image).layers.map((layer) => digestOf(layer)),
    );
    expect(manifestAt('app', 'x').layers[0]?.mediaType).toBe('application/vnd.docker.image.rootfs.diff.tar.gzip');
  });

  it('gives the same digest each time, and moves nothing again', async () => {
    await put(dockerSave([tagged]));
    const first = await place.toZone('docker-archive:image.tar');
    const again = await copy(
      { source: 'docker-archive:image.tar', target: `${place.zone.host}/app:x`, referrers: false },
      place.context,
    );
    expect(again.items[0]).toMatchObject({ state: 'present', digest: first });
  });

  it('is not unpacked', async () => {
    await put(dockerSave([tagged]));
    await place.toZone('docker-archive:image.tar');
    expect(await readdir(place.path)).toEqual(['image.tar']);
  });

  it('shares layers by links', async () => {
    await put(dockerSave([tagged, { image, tags: ['again:v2'] }]));
    expect(await place.toZone('docker-archive:image.tar:again:v2')).toBe(
      await place.toZone('docker-archive:image.tar:team/app:v1', 'y:z'),
    );
  });
});

describe('an archive of several images', () => {
  const several = [
    tagged,
    { image: other, tags: ['docker.io/library/nginx:1.25', 'nginx:latest'] },
    { image: buildImage({ seed: 3 }) },
  ];

  it('asks which, and lists them', async () => {
    await put(podmanSave(several));
    const error = await failureOf(place.toZone('docker-archive:image.tar'));
    expect(error.code).toBe('E_USAGE');
    for (const name of ['team/app:v1', 'nginx:1.25', 'nginx:latest']) expect(error.hint).toContain(name);
    expect(place.zone.repositories()).toEqual([]);
  });

  it.each([
    [':team/app:v1', image],
    [':docker.io/team/app:v1', image],
    [':nginx:1.25', other],
    [':nginx', other],
    ['@0', image],
    [':@1', other],
  ])('gives the one that is named %s', async (choice, wanted) => {
    await put(podmanSave(several));
    await place.toZone(`docker-archive:image.tar${choice}`);
    expect(manifestAt('app', 'x').config.digest).toBe(digestOf(partsOf(wanted).config));
  });

  it.each([':nothing:v1', '@7', `@sha256:${'0'.repeat(64)}`])('has none that is named %s', async (choice) => {
    await put(podmanSave(several));
    expect(await codeOf(place.toZone(`docker-archive:image.tar${choice}`))).toBe('E_NOT_FOUND');
  });

  it('of one image with several names needs no choice', async () => {
    await put(podmanSave([{ image, tags: ['a:1', 'a:2'] }]));
    expect(await place.toZone('docker-archive:image.tar')).toMatch(/^sha256:/);
  });

  it('without names needs none either, and gives its tag to nobody', async () => {
    await put(podmanSave([{ image }]));
    const report = await copy(
      { source: 'docker-archive:image.tar', target: `${place.zone.host}/app`, referrers: true },
      place.context,
    );
    expect(report.items[0]?.name).toBe(`${place.zone.host}/app@${report.items[0]?.digest}`);
    expect(place.zone.tags('app')).toEqual([]);
  });
});

describe('an archive that holds a layout', () => {
  const index = buildIndex({ children: [image, other] });
  const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(index) });

  it.each(['docker-archive', 'oci-archive'])('keeps digests and all platforms, read as %s', async (kind) => {
    await put(dockerSaveOfLayout([{ image: index, tags: ['docker.io/team/app:v1'] }]));
    expect(await place.toZone(`${kind}:image.tar`)).toBe(index.digest);
    expect(await place.toZone(`${kind}:image.tar:team/app:v1`, 'app:y')).toBe(index.digest);
    expect(await place.toZone(`${kind}:image.tar:v1`, 'app:z')).toBe(index.digest);
  });

  it('gives its referrers too, and a child by its digest', async () => {
    await put(tarOf(layoutFiles([{ image: index }, { image: sbom }])));
    expect(await place.toZone('oci-archive:image.tar')).toBe(index.digest);
    expect(place.zone.manifest('app', sbom.digest)).toBeDefined();
    expect(await place.toZone(`oci-archive:image.tar@${other.digest}`, 'child:x')).toBe(other.digest);
  });

  it('of some platforms only says how to choose among them', async () => {
    const arm = buildImage({ seed: 'arm', platform: { os: 'linux', architecture: 'arm64' } });
    const many = buildIndex({ children: [image, arm] });
    const absent = `blobs/${image.digest.replace(':', '/')}`;
    const files = layoutFiles([{ image: many }]).filter(({ path }) => path !== absent);
    await put(tarOf([...files, { path: 'manifest.json', bytes: Buffer.from('[]') }]));

    const error = await failureOf(place.toZone('docker-archive:image.tar'));

    expect(error.code).toBe('E_NOT_FOUND');
    expect(error.message).toContain(image.digest);
    expect(error.hint).toMatch(/`--platform`.*`@sha256:/);
    expect(await place.toZone(`docker-archive:image.tar@${arm.digest}`)).toBe(arm.digest);
    const choice = { source: 'docker-archive:image.tar', target: `${place.zone.host}/app:y`, referrers: true };
    const chosen = await copy({ ...choice, platforms: ['linux/arm64'] }, place.context);
    expect(chosen.items[0]?.detail?.['sourceDigest']).toBe(many.digest);
  });

  it('with two images of one bare tag asks for the whole name', async () => {
    await put(
      dockerSaveOfLayout([
        { image, tags: ['docker.io/a/b:v1'] },
        { image: other, tags: ['docker.io/c/d:v1'] },
      ]),
    );
    expect(await codeOf(place.toZone('docker-archive:image.tar:v1'))).toBe('E_USAGE');
    expect(await place.toZone('docker-archive:image.tar:c/d:v1')).toBe(other.digest);
  });
});

describe('a hostile or damaged archive', () => {
  const { config, layers } = partsOf(image);
  const configName = `${digestOf(config).slice(7)}.json`;
  const configFile: TarFile = { path: configName, bytes: config };
  const plain = layers.map((layer, number): TarFile => ({ path: `${number}.tar`, bytes: gunzipSync(layer) }));
  const paths = plain.map(({ path }) => path);
  const text = (path: string, value: string): TarFile => ({ path, bytes: Buffer.from(value) });
  const manifest = (change: object = {}): unknown => [{ Config: configName, RepoTags: null, Layers: paths, ...change }];

  it.each<[string, string, Uint8Array]>([
    ['no manifest.json', 'manifest.json', tarOf([configFile, ...plain])],
    ['a manifest.json that is not JSON', 'manifest.json', tarOf([text('manifest.json', 'x')])],
    ['a manifest.json of something else', 'manifest.json', archiveOf([], { a: 1 })],
    ['a manifest.json without images', 'manifest.json', archiveOf([], [])],
    ['a manifest.json of 5 MiB', 'manifest.json', archiveOf([], ['x'.repeat(5 * 1024 * 1024)])],
    ['no config', configName, archiveOf(plain, manifest())],
    ['a config that is not JSON', 'c', archiveOf([...plain, text('c', 'x')], manifest({ Config: 'c' }))],
    ['a config without layers', 'c', archiveOf([...plain, text('c', '{"rootfs":{}}')], manifest({ Config: 'c' }))],
    ['a layer too few', configName, archiveOf([configFile, ...plain], manifest({ Layers: paths.slice(1) }))],
    ['a layer that is missing', '0.tar', archiveOf([configFile, ...plain.slice(1)], manifest())],
    [
      'a layer that is a link in a circle',
      '0.tar',
      archiveOf(
        [configFile, ...plain.slice(1), { path: '0.tar', bytes: Buffer.alloc(0), type: '2', link: '0.tar' }],
        manifest(),
      ),
    ],
    ['a layer that is there twice', '0.tar', archiveOf([configFile, ...plain, text('0.tar', 'x')], manifest())],
    [
      'a layer that no registry can name',
      '0.tar',
      archiveOf([configFile, { path: '0.tar', bytes: Buffer.from('BZh91AY') }, ...plain.slice(1)], manifest()),
    ],
  ])('with %s is refused, naming it', async (_, item, bytes) => {
    await put(bytes);
    const error = await failureOf(place.toZone('docker-archive:image.tar'));
    expect([error.code, error.at]).toEqual(['E_CORRUPT', { side: 'source', item }]);
    expect(place.zone.repositories()).toEqual([]);
  });

  it('with other bytes in a layer than its config says tags nothing', async () => {
    const wrong = Buffer.from(plain[1]?.bytes ?? []);
    wrong[700] = 1;
    await put(archiveOf([configFile, ...plain.with(1, { path: '1.tar', bytes: wrong })], manifest()));
    const error = await failureOf(place.toZone('docker-archive:image.tar'));
    expect([error.code, error.at.side]).toEqual(['E_DIGEST_MISMATCH', 'source']);
    expect(place.zone.tags('app')).toEqual([]);
  });

  it('with a config that is not what its name says is refused', async () => {
    const changed = Buffer.from(Buffer.from(config).toString().replace('/usr/bin', '/tmp/bin'));
    await put(archiveOf([{ path: configName, bytes: changed }, ...plain], manifest()));
    expect(await codeOf(place.toZone('docker-archive:image.tar'))).toBe('E_DIGEST_MISMATCH');
  });
});

describe('a place in the file system', () => {
  it('may have a colon in its name', async () => {
    await mkdir(join(place.path, 'a:b'));
    await put(podmanSave([tagged]), 'a:b/image:1.tar');
    expect(await place.toZone('docker-archive:a:b/image:1.tar')).toMatch(/^sha256:/);
    expect(await place.toZone('docker-archive:a:b/image:1.tar:team/app:v1')).toMatch(/^sha256:/);
  });

  it('that is a file is no layout, one that is not there is not found, and none is a mistake', async () => {
    await put(podmanSave([tagged]));
    expect(await codeOf(place.toZone('oci:image.tar'))).toBe('E_USAGE');
    expect(await codeOf(place.toZone('docker-archive:nothing.tar'))).toBe('E_NOT_FOUND');
    expect(await codeOf(place.toZone('docker-archive:'))).toBe('E_USAGE');
    expect(await codeOf(place.toZone('docker-archive:image.tar:'))).toBe('E_USAGE');
    await mkdir(dirname(join(place.path, 'd/x')));
    expect(await codeOf(place.toZone('docker-archive:d'))).toBe('E_USAGE');
  });

  it.each(['./app.tar', '../layout', '/tmp/layout'])(
    'that is written as a path alone is asked what it is: %s',
    async (path) => {
      const error = await failureOf(place.toZone(path));

      expect(error.code).toBe('E_USAGE');
      for (const kind of ['oci:DIR', 'docker-archive:FILE', 'bundle:DIR']) expect(error.hint).toContain(kind);
    },
  );

  it.each(['docker-archive:x.tar', 'oci-archive:x.tar', 'bundle:x'])('%s cannot be written to', async (target) => {
    await put(podmanSave([tagged]));
    expect(await codeOf(copy({ source: 'docker-archive:image.tar', target, referrers: true }, place.context))).toBe(
      'E_USAGE',
    );
  });
});
