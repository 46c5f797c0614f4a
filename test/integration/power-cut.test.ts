import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pull } from '../../src/commands/pull.ts';
import { testContext } from '../support/context.ts';
import { startFileServer } from '../support/file-server.ts';
import { type HubPlace, startHubPlace } from '../support/hub-store.ts';
import { buildImage } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { type StrictMedium, watchMedium } from '../support/strict-medium.ts';

const files = { 'config.json': '{"a":1}', 'x/y/copy.json': '{"a":1}', 'model.safetensors': 'weights', LICENSE: 'mine' };
let place: HubPlace;

/** What has to be on the medium before a name is given that says so. */
function needsOf(path: string): RegExp | undefined {
  const [, repo] = /^store\/(hub\/[^/]+)\/refs\//.exec(path) ?? [];
  if (repo !== undefined) return new RegExp(`^store/${repo}(?:/(?:blobs|snapshots|trees)(?:/|$)|$)`);
  const [, listed] = /^store\/(hub\/[^/]+)\/trees\//.exec(path) ?? [];
  if (listed !== undefined) return new RegExp(`^store/${listed}/(?:blobs|snapshots)(?:/|$)`);
  return path === 'store/oci/index.json' ? /^store\/oci\/(?:blobs|oci-layout)(?:\/|$)/ : undefined;
}

async function watched(work: () => Promise<unknown>): Promise<StrictMedium> {
  using medium = watchMedium(place.directory, needsOf);
  await work();
  return medium;
}

/** What a power cut could have made wrong, and what it could take away now. @param claims what must have got its name */
function faultsOf(medium: StrictMedium, claims: RegExp): string[] {
  const missing = medium.claims.some(({ path }) => claims.test(path)) ? [] : [`no ${claims.source}`];
  const early = medium.claims.flatMap(({ path, lost }) => lost.map((what) => `${path} before the ${what}`));
  return [...missing, ...early, ...lostOf(medium)];
}

/** What of the store is not on the medium when the command has ended. */
function lostOf(medium: StrictMedium): string[] {
  return medium.lost().filter((text) => / of store(?:\/|$)/.test(text));
}

describe('a power cut at any moment of snapshot leaves no ref and no list of files that says too much', () => {
  beforeEach(async () => {
    place = await startHubPlace();
    place.hub.addRepo({ id: 'org/name', files, branches: ['main', 'v1'] });
  });
  afterEach(() => place.close());

  const sie = { preset: 'sie', include: [], exclude: [] } as const;

  it.each<[string, Record<string, string>]>([
    ['with links', {}],
    ['without links', { HF_HUB_DISABLE_SYMLINKS: '1' }],
  ])('in a store %s', async (_, env) => {
    const own = await place.withEnv(env);
    expect(faultsOf(await watched(() => own.snapshot('org/name@v1', { filter: sie })), /refs\/v1$/)).toEqual([]);
    // The refs are there, and lead to more from now on.
    expect(faultsOf(await watched(() => own.snapshot('org/name@v1')), /trees\//)).toEqual([]);
    await own.close();
  });

  it('whose links are made anew of blobs that are there', async () => {
    const { commit } = place.hub.addRepo({ id: 'org/name', files });
    await place.snapshot('org/name');
    const repo = join(place.cache, 'models--org--name');
    await rm(join(repo, 'snapshots', commit, 'x'), { recursive: true });
    await rm(join(repo, 'trees'), { recursive: true });
    expect(faultsOf(await watched(() => place.snapshot('org/name')), /trees\//)).toEqual([]);
  });

  it('that takes its files from another cache, whose bytes may be in memory only', async () => {
    await place.snapshot('org/name');
    await rename(place.cache, join(place.directory, 'other'));
    await rm(join(place.directory, 'store'), { recursive: true });
    const medium = await watched(() => place.snapshot('org/name', { adopt: join(place.directory, 'other') }));
    expect(faultsOf(medium, /refs\/main$/)).toEqual([]);
  });
});

describe('a power cut at any moment of pull', () => {
  let registry: TestRegistry;
  const image = buildImage({ seed: 'one' });

  beforeEach(async () => {
    place = await startHubPlace();
    registry = await startRegistry();
    registry.put('team/one', image, 'v1');
  });
  afterEach(async () => {
    await registry.close();
    await place.close();
  });

  async function pulled(manifest: Record<string, unknown>): Promise<void> {
    const whole = { apiVersion: 'sie-mirror/v1', kind: 'MirrorManifest', metadata: { name: 'x' }, ...manifest };
    await mkdir(join(place.directory, 'in'), { recursive: true });
    await writeFile(join(place.directory, 'in/m.yaml'), JSON.stringify(whole));
    const { context } = await testContext({ cwd: place.directory, insecureHosts: [registry.host] });
    try {
      expect(await pull({ manifest: 'in/m.yaml', store: 'store' }, context)).toMatchObject({ ok: true });
    } finally {
      await context.close();
    }
  }

  it('leaves no index.json that names a blob which is not there', async () => {
    const images = [{ ref: `${registry.host}/team/one:v1`, to: 'one' }];
    expect(faultsOf(await watched(() => pulled({ images })), /oci\/index\.json$/)).toEqual([]);
    // What comes anew under an index that is as it was.
    const [layer = ''] = [...image.blobs.keys()];
    await rm(join(place.directory, 'store/oci/blobs', layer.replace(':', '/')));
    const medium = await watched(() => pulled({ images }));
    expect(lostOf(medium)).toEqual([]);
  });

  it('leaves no lock that was complete without its single files', async () => {
    const server = await startFileServer({ '/notes.txt': 'notes' });
    try {
      const medium = await watched(() => pulled({ files: [{ url: `${server.url}/notes.txt` }] }));
      expect(lostOf(medium)).toEqual([]);
    } finally {
      await server.close();
    }
  });
});
