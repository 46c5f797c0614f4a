import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { refuseOtherPrefix } from '../../src/commands/places/other-prefixes.ts';
import { asked, type CopyWorld, withCopyWorld } from '../support/copy-command.ts';
import { codeOfCall, failureOf } from '../support/failures.ts';
import { buildImage, cosignSignature, cosignTag } from '../support/images.ts';

const image = buildImage({ seed: 'image' });

async function withRepository(tags: readonly string[], work: (world: CopyWorld) => Promise<void>): Promise<void> {
  await withCopyWorld({}, async (world) => {
    for (const tag of tags) world.source.put('app', image, tag);
    await work(world);
  });
}

describe('a tag that is not there', () => {
  it.each<[string, string[], RegExp]>([
    ['SOURCE/app:v12', ['v1', 'v2', 'latest'], /^the repository has 3 tags: `v1`, `v2`, `latest`$/],
    ['SOURCE/app', ['v1'], /^no tag was named, which means `latest`; the repository has 1 tag: `v1`$/],
    ['SOURCE/app:v1', Array.from({ length: 12 }, (_, number) => `x${number + 10}`), /12 tags: (?:`x1\d`, ){8}\.\.\.$/],
    ['SOURCE/ap:v1', ['v1'], /shows no tag of `ap`: check the spelling/],
    ['SOURCE/app:v1', [], /shows no tag of `app`/],
  ])('is told with those that are, the nearest first: %s of %j', async (source, tags, hint) => {
    await withRepository(tags, async (world) => {
      const error = await failureOf(world.run({ source, target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_NOT_FOUND', 'source']);
      expect(error.hint).toMatch(hint);
    });
  });

  it('is told so of each line of a list that names one, by one look at the tags, without those that belong to digests', async () => {
    await withRepository(['v1'], async (world) => {
      world.source.put('app', cosignSignature(image), cosignTag(image.digest));
      const lines = ['v1', 'v3', 'v4'].map((tag) => `${world.source.host}/app:${tag}`);
      await writeFile(join(world.directory, 'list'), lines.join('\n'));

      const report = await world.run({ fromFile: 'list', target: 'ZONE/m' });

      expect(report.items.map(({ state }) => state)).toEqual(['done', 'failed', 'failed']);
      for (const { error } of report.items.slice(1)) expect(error?.hint).toBe('the repository has 1 tag: `v1`');
      expect(world.source.server.count(/tags\/list/)).toBe(1);
    });
  });

  it('is told all the same where the source does not list its tags', async () => {
    await withRepository(['v1'], async (world) => {
      world.source.server.faults = ({ path }) =>
        path.includes('/tags/list') ? { kind: 'status', status: 403 } : undefined;

      const error = await failureOf(world.run({ source: 'SOURCE/app:v3', target: 'ZONE/app' }));

      expect(error.code).toBe('E_NOT_FOUND');
      expect(error.hint).toMatch(/spelling/);
    });
  });
});

describe('a forgotten prefix is told with what lies there', () => {
  // Nobody answers there: the name is taken for that of a registry on this machine.
  it.each<[string, string, RegExp]>([
    ['localhost/place', 'ZONE/app', /if the directory `localhost\/place` here is meant, write `oci:localhost\/place`/],
    ['localhost/place:v1', 'ZONE/app', /write `oci:localhost\/place:v1`/],
    ['localhost/app.tar', 'ZONE/app', /write `docker-archive:localhost\/app\.tar`/],
    ['SOURCE/app:v1', 'localhost/place', /write `oci:localhost\/place`/],
  ])('%s to %s', async (source, target, hint) => {
    await withRepository(['v1'], async (world) => {
      await mkdir(join(world.directory, 'localhost/place'), { recursive: true });
      await writeFile(join(world.directory, 'localhost/app.tar'), '');

      expect((await failureOf(world.run({ source, target }))).hint).toMatch(hint);
    });
  });
});

describe('a place of another kind than its prefix says', () => {
  it.each<[string, string, string, RegExp]>([
    ['an archive that is a directory', 'docker-archive:folder', 'E_USAGE', /`oci:folder`/],
    ['an archive that is not there', 'docker-archive:none', 'E_NOT_FOUND', /path/],
    ['a layout that is a file', 'oci:file', 'E_USAGE', /`docker-archive:file`/],
    ['a layout that is not there', 'oci:none', 'E_NOT_FOUND', /path/],
    ['a directory without a layout', 'oci:folder', 'E_NOT_FOUND', /`oci-layout`/],
    ['what skopeo calls dir:', 'oci:dir', 'E_USAGE', /skopeo copy dir:DIR oci:LAYOUT:NAME/],
    ['an address', 'oci://registry.example/app:v1', 'E_USAGE', /`registry\.example\/app:v1`/],
    ['dir:', 'dir:dir', 'E_USAGE', /skopeo copy/],
    ['docker-daemon:', 'docker-daemon:nginx:latest', 'E_USAGE', /docker save/],
    ['containers-storage:', 'containers-storage:localhost/app', 'E_USAGE', /podman save/],
    ['ocidir:', 'ocidir://folder', 'E_USAGE', /`oci:DIR`/],
  ])('is told with what to write: %s', async (_, source, code, hint) => {
    await withRepository([], async (world) => {
      for (const folder of ['folder', 'dir']) await mkdir(join(world.directory, folder));
      await writeFile(join(world.directory, 'file'), '');
      for (const file of ['version', 'manifest.json']) await writeFile(join(world.directory, 'dir', file), '');

      const error = await failureOf(world.run({ source, target: 'ZONE/app' }));

      expect(error.code).toBe(code);
      expect(error.hint).toMatch(hint);
      expect(asked(world.zone)).toEqual([]);
    });
  });

  it('is a registry where a port follows that is called like a prefix', () => {
    expect(codeOfCall(() => refuseOtherPrefix('dir:x/app'))).toBe('E_USAGE');
    expect(() => refuseOtherPrefix('dir:5000/app')).not.toThrow();
  });
});
