import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { asked, withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
} from '../support/images.ts';
import { filesBelow } from '../support/place.ts';

const repository = 'team/app';
const image = (seed: string): BuiltImage => buildImage({ seed, layers: 1 });

describe('tags of a repository', () => {
  const tags = ['v1.0', 'v1.1', 'v2.0', 'latest'];

  it.each<[string, { allTags?: boolean; tags?: string[] }, string[]]>([
    ['all', { allTags: true }, ['latest', 'v1.0', 'v1.1', 'v2.0']],
    ['a pattern', { tags: ['v1.*'] }, ['v1.0', 'v1.1']],
    ['several patterns', { tags: ['v?.1', '[k-m]atest'] }, ['latest', 'v1.1']],
    ['what a set leaves out', { tags: ['v[!1].*'] }, ['v2.0']],
  ])('%s go to one repository', async (_, chosen, expected) => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      for (const tag of tags) source.put(repository, image(tag), tag);

      const report = await run({ source: `SOURCE/${repository}`, target: 'ZONE/mirror/app', ...chosen });

      expect(zone.tags('mirror/app')).toEqual(expected);
      for (const tag of expected) expect(zone.manifest('mirror/app', tag)?.digest).toBe(image(tag).digest);
      expect(report.items.map(({ name, state }) => [name, state])).toEqual(
        expected.map((tag) => [`${zone.host}/mirror/app:${tag}`, 'done']),
      );
    });
  });

  it.each([true, false])(
    'that cosign names after a digest travel with the image of that digest (referrers: %s)',
    async (referrers) => {
      await withCopyWorld({}, async ({ source, zone, run }) => {
        const [signed, plain] = [image('signed'), image('plain')];
        source.put(repository, signed, 'v1');
        source.put(repository, plain, 'v2');
        source.put(repository, cosignSignature(signed), cosignTag(signed.digest));
        source.put(repository, cosignSignature(image('gone')), cosignTag(image('gone').digest, 'att'));

        const report = await run({
          source: `SOURCE/${repository}`,
          target: `ZONE/${repository}`,
          allTags: true,
          referrers,
        });

        expect(zone.tags(repository)).toEqual([...(referrers ? [cosignTag(signed.digest)] : []), 'v1', 'v2'].sort());
        expect(report.items).toHaveLength(2);
        expect(source.server.count(/tags\/list/)).toBe(referrers ? 2 : 1);
      });
    },
  );

  it('go to a layout under their full names, and from there to a registry', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      for (const tag of tags) source.put(repository, image(tag), tag);
      await run({ source: `SOURCE/${repository}`, target: 'oci:layout', allTags: true });

      await run({ source: 'oci:layout', target: `ZONE/${repository}`, tags: ['v*'] });

      expect(zone.tags(repository)).toEqual(['v1.0', 'v1.1', 'v2.0']);
    });
  });

  it('are chosen of one repository where a layout holds several', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      for (const name of ['a', 'b']) {
        source.put(name, image(name), 'v1');
        await run({ source: `SOURCE/${name}:v1`, target: 'oci:layout' });
      }

      const error = await failureOf(run({ source: 'oci:layout', target: 'ZONE/b', allTags: true }));
      await run({ source: `oci:layout:SOURCE/b`, target: 'ZONE/b', allTags: true });
      const unknown = await failureOf(run({ source: 'oci:layout:c', target: 'ZONE/c', allTags: true }));

      expect(error.code).toBe('E_USAGE');
      expect(error.hint).toContain(`${source.host}/b`);
      expect(unknown.code).toBe('E_NOT_FOUND');
      expect(unknown.hint).toContain(`oci:layout:${source.host}/b`);
      expect(zone.repositories()).toEqual(['b']);
    });
  });

  it.each<[string, string, object, string]>([
    [`SOURCE/${repository}:v1`, 'ZONE/x', { allTags: true }, 'E_USAGE'],
    [`SOURCE/${repository}`, 'ZONE/x:v1', { allTags: true }, 'E_USAGE'],
    [`SOURCE/${repository}`, 'oci:layout:name', { allTags: true }, 'E_USAGE'],
    [`SOURCE/${repository}`, 'ZONE/x', { allTags: true, tags: ['v1'] }, 'E_USAGE'],
    [`SOURCE/${repository}`, 'ZONE/x', { tags: ['w*'] }, 'E_NOT_FOUND'],
    ['SOURCE/none', 'ZONE/x', { allTags: true }, 'E_NOT_FOUND'],
  ])('are not copied from %s to %s with %j', async (from, to, options, code) => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, image('v1'), 'v1');

      expect((await failureOf(run({ source: from, target: to, ...options }))).code).toBe(code);

      expect(asked(zone)).toEqual([]);
    });
  });
});

describe('a list of images', () => {
  it('goes below the target by the names of the sources, or where its second column says', async () => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      source.put('org/one', image('one'), 'v1');
      source.put('org/two', image('two'), 'v2');
      source.put('three', image('three'), 'v3');
      const list = [
        // As editors of Windows begin a file.
        '\ufeff# images of the release',
        '',
        `${source.host}/org/one:v1`,
        `${source.host}/org/two:v2   renamed/two   # by another name`,
        `${source.host}/three@${image('three').digest} sie/three:pinned`,
        `${source.host}/three:v3 ${zone.host}/elsewhere/three`,
      ];
      await writeFile(join(directory, 'images.txt'), list.join('\r\n'));

      const report = await run({ fromFile: 'images.txt', target: 'ZONE/mirror' });

      const host = source.host.replace(':', '-');
      expect(zone.repositories()).toEqual(
        ['elsewhere/three', `mirror/${host}/org/one`, 'mirror/renamed/two', 'mirror/sie/three'].sort(),
      );
      expect(zone.manifest(`mirror/${host}/org/one`, 'v1')?.digest).toBe(image('one').digest);
      expect(zone.manifest('mirror/renamed/two', 'v2')?.digest).toBe(image('two').digest);
      expect(zone.manifest('mirror/sie/three', 'pinned')?.digest).toBe(image('three').digest);
      expect(zone.manifest('elsewhere/three', 'v3')?.digest).toBe(image('three').digest);
      expect(report).toMatchObject({ ok: true, totals: { images: 4 } });
    });
  });

  it('brings all images into one layout at once, and none is lost', async () => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      const names = Array.from({ length: 12 }, (_, index) => `org/app-${index}`);
      for (const name of names) source.put(name, image(name), 'v1');
      await writeFile(join(directory, 'list'), names.map((name) => `${source.host}/${name}:v1`).join('\n'));

      const report = await run({ fromFile: 'list', target: 'oci:layout' });
      expect(report.items.flatMap(({ error }) => error ?? [])).toEqual([]);
      for (const name of names) await run({ source: `oci:layout:${source.host}/${name}:v1`, target: `ZONE/${name}` });

      expect(zone.repositories()).toEqual(names.toSorted());
    });
  });

  it('keeps referrers of a subject that several of its images share, where there is no referrers API', async () => {
    await withCopyWorld({ zone: { referrers: false } }, async ({ source, zone, run }) => {
      const shared = image('shared');
      for (const index of [1, 2, 3, 4])
        source.put(repository, buildIndex({ children: [shared, image(String(index))] }), `v${index}`);
      const sboms = [1, 2, 3].map((seed) => buildArtifact({ seed, subject: descriptorOf(shared) }));
      for (const sbom of sboms) source.put(repository, sbom);

      await run({ source: `SOURCE/${repository}`, target: `ZONE/${repository}`, allTags: true });

      const listed = zone.manifest(repository, shared.digest.replace(':', '-'))?.bytes ?? [];
      for (const { digest } of sboms) expect(Buffer.from(listed).toString()).toContain(digest);
    });
  });

  it('moves a blob that several of its images have once for each repository', async () => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      const shared = image('shared');
      const indexes = [1, 2, 3, 4].map((index) => buildIndex({ children: [shared, image(`own ${index}`)] }));
      for (const [index, each] of indexes.entries()) source.put(repository, each, `v${index}`);
      const lines = indexes.map((_, index) => `${source.host}/${repository}:v${index} app:v${index}`);
      await writeFile(join(directory, 'list'), lines.join('\n'));

      const report = await run({ fromFile: 'list', target: 'ZONE/mirror' });

      for (const digest of shared.blobs.keys()) {
        expect(zone.server.count(new RegExp(`^PUT .*uploads.*${digest.slice(7)}`))).toBe(1);
        expect(source.server.count(new RegExp(`^GET .*/blobs/${digest}`))).toBe(1);
      }
      const parts = new Set(indexes.flatMap(({ blobs, manifests }) => [...blobs.keys(), ...manifests.keys()]));
      expect(report.totals['copied']).toBe(parts.size);
      for (const [index, { digest }] of indexes.entries())
        expect(zone.manifest('mirror/app', `v${index}`)?.digest).toBe(digest);
    });
  });

  it('pushes an image that has several tags once, and does not read it back', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      for (const tag of ['a', 'b', 'c']) source.put(repository, image('same'), tag);

      const order = { source: `SOURCE/${repository}`, target: `ZONE/${repository}`, allTags: true, referrers: false };
      const report = await run(order);

      expect(zone.tags(repository)).toEqual(['a', 'b', 'c']);
      expect(zone.server.count(/^GET .*\/manifests\//)).toBe(0);
      expect(zone.server.count(/^PUT .*\/manifests\/sha256:/)).toBe(1);
      expect(report.items.map(({ state }) => state)).toEqual(['done', 'done', 'done']);
    });
  });

  it('shares the token of each repository', async () => {
    const user = { user: 'tester', password: 'canary-password-that-must-not-leak' };
    const auth = { kind: 'bearer', ...user } as const;
    await withCopyWorld({ source: { auth }, zone: { auth } }, async ({ source, zone, directory, run }) => {
      const entry = { auth: Buffer.from(`${user.user}:${user.password}`).toString('base64') };
      await mkdir(join(directory, '.docker'));
      await writeFile(
        join(directory, '.docker/config.json'),
        JSON.stringify({ auths: { [source.host]: entry, [zone.host]: entry } }),
      );
      const tags = Array.from({ length: 12 }, (_, index) => `v${index}`);
      for (const tag of tags) source.put(repository, image(tag), tag);

      const report = await run({ source: `SOURCE/${repository}`, target: 'ZONE/app', allTags: true });

      expect(report.items.filter(({ state }) => state === 'done')).toHaveLength(tags.length);
      expect([source, zone].map(({ server }) => server.count(/^GET \/token/))).toEqual([1, 1]);
    });
  });

  it('goes on when one image fails, names it, and ends incomplete', async () => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      source.put('org/good', image('good'), 'v1');
      source.put('org/damaged', image('damaged'), 'v1');
      const [blob = ''] = image('damaged').blobs.keys();
      source.server.faults = ({ path }) => (path.includes(blob) ? { kind: 'status', status: 404 } : undefined);
      const lines = ['org/none:v1', 'org/damaged:v1', 'org/good:v1'].map((name) => `${source.host}/${name}`);
      await writeFile(join(directory, 'list'), lines.join('\n'));

      const report = await run({ fromFile: 'list', target: 'ZONE/m' });

      expect(report).toMatchObject({ ok: false, exit: 3 });
      expect(report.items.map(({ state, error }) => [state, error?.code])).toEqual([
        ['failed', 'E_NOT_FOUND'],
        ['failed', 'E_NOT_FOUND'],
        ['done', undefined],
      ]);
      expect(zone.repositories().filter((name) => zone.tags(name).length > 0)).toHaveLength(1);
    });
  });

  it.each(['ZONE/m', 'oci:layout'])('copies once to %s what several of its lines name', async (target) => {
    await withCopyWorld({}, async ({ source, directory, run }) => {
      for (const tag of ['v1', 'latest']) source.put(repository, image(tag), tag);
      const lines = ['', ':latest', ':v1', ''].map((tag) => `${source.host}/${repository}${tag}`);
      await writeFile(join(directory, 'list'), lines.join('\n'));

      const report = await run({ fromFile: 'list', target });

      expect(report.items.map(({ state, digest }) => [state, digest])).toEqual(
        ['latest', 'v1'].map((tag) => ['done', image(tag).digest]),
      );
      expect(report.totals['images']).toBe(2);
    });
  });

  it('shares a blob whose first copy fails: the next image brings it', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const shared = image('shared');
      const doomed = buildIndex({ children: [shared, image('doomed')] });
      source.put(repository, doomed, 'a');
      source.put(repository, buildIndex({ children: [shared, image('fine')] }), 'b');
      source.server.faults = ({ path }) =>
        [...image('doomed').blobs.keys()].some((digest) => path.includes(digest))
          ? { kind: 'status', status: 404 }
          : undefined;

      const report = await run({ source: `SOURCE/${repository}`, target: `ZONE/${repository}`, allTags: true });

      expect(report.items.map(({ state }) => state)).toEqual(['failed', 'done']);
      expect(zone.tags(repository)).toEqual(['b']);
    });
  });

  it.each<[string, string, string | undefined, RegExp]>([
    ['a malformed reference', 'good.example/a:v1\nUPPER/case', 'ZONE/m', /line 2.*repository/],
    ['three columns', 'a b c', 'ZONE/m', /line 1/],
    ['no line at all', '# nothing\n\n', 'ZONE/m', /names no image/],
    ['no target', 'a.example/x:v1 path', undefined, /line 1.*target/],
    ['two images for one name', 'a.example/x:v1 same:v1\nb.example/x:v1 same:v1', 'ZONE/m', /both/],
    ['two tags for one name', 'a.example/x:v1 same:v1\na.example/x:v2 same:v1', 'ZONE/m', /both/],
    [
      'two images for one name on Docker Hub',
      'a.example/x hub.example/y\nb.example/x hub.example/y:latest',
      undefined,
      /both/,
    ],
    ['two images for one name in a layout', 'a.example/x:v1 same\nb.example/x:v2 same', 'oci:layout', /both/],
    ['a target that is an address', 'a.example/x:v1', 'https://ZONE/m', /not an image reference/],
    ['a second column that is no path', 'a.example/x:v1 good\nb.example/x:v1 Upper/x', 'ZONE/m', /line 2.*repository/],
    ['a second column that is read only', 'a.example/x:v1 docker-archive:x.tar', undefined, /line 1.*read only/],
    ['a list in UTF-16', '\ufeffg\0o\0o\0d\0/\0a\0:\0v\0', 'ZONE/m', /UTF-8/],
    ['a target that names one image of a layout', 'a.example/x:v1', 'oci:layout:name', /one image/],
  ])('is refused for %s before anything is asked', async (_, list, target, message) => {
    await withCopyWorld({}, async ({ source, zone, directory, run }) => {
      await writeFile(join(directory, 'list'), list);

      const error = await failureOf(run({ fromFile: 'list', target }));

      expect(error.code).toBe('E_USAGE');
      expect(error.message).toMatch(message);
      expect([...asked(source), ...asked(zone)]).toEqual([]);
      expect(await filesBelow(directory)).toEqual(['list']);
    });
  });

  it.each([
    [{ source: 'a.example/x' }],
    [{}],
    [{ source: 'a.example/x', target: 'ZONE/m', fromFile: 'list' }],
    [{ target: 'ZONE/m', fromFile: 'list', allTags: true }],
  ])('or a single image is refused for too few or too many arguments: %j', async (options) => {
    await withCopyWorld({}, async ({ run }) => {
      expect((await failureOf(run(options))).code).toBe('E_USAGE');
    });
  });

  it.each([
    [403, 'E_AUTH'],
    [404, 'E_NOT_FOUND'],
    [405, 'E_REFUSED'],
  ])('of tags that the registry does not show (%i) is told by the name of the repository', async (status, code) => {
    await withCopyWorld({}, async ({ source, run }) => {
      source.put(repository, image('v1'), 'v1');
      source.server.faults = ({ path }) =>
        path.includes('/tags/list') ? { kind: 'status', status, body: 'no' } : undefined;

      const error = await failureOf(run({ source: `SOURCE/${repository}`, target: 'ZONE/app', allTags: true }));

      expect([error.code, error.at.item]).toEqual([code, `${source.host}/${repository}`]);
    });
  });

  it('is refused for names that no registry takes before anything moves', async () => {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      source.put(repository, image('v1'), 'v1');
      await run({ source: `SOURCE/${repository}:v1`, target: 'oci:layout:good' });
      await run({ source: `SOURCE/${repository}:v1`, target: 'oci:layout:no tag' });

      const error = await failureOf(run({ source: 'oci:layout', target: 'ZONE/app', allTags: true }));

      expect(error.code).toBe('E_USAGE');
      expect(error.message).toContain('no tag');
      expect(asked(zone)).toEqual([]);
    });
  });

  it('that is a directory is told by its name', async () => {
    await withCopyWorld({}, async ({ directory, run }) => {
      await mkdir(join(directory, 'folder'));

      const error = await failureOf(run({ fromFile: 'folder', target: 'ZONE/m' }));

      expect([error.code, error.at.item]).toEqual(['E_PATH', 'folder']);
    });
  });

  it('that is not there is not found', async () => {
    await withCopyWorld({}, async ({ run }) => {
      expect((await failureOf(run({ fromFile: 'none.txt', target: 'ZONE/m' }))).code).toBe('E_NOT_FOUND');
    });
  });
});
