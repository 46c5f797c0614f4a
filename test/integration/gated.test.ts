import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plan } from '../../src/commands/plan.ts';
import { pull } from '../../src/commands/pull.ts';
import type { Report } from '../../src/core/report.ts';
import { failureIn, type HubPlace, readLockOf, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { sendJson, TestServer } from '../support/server.ts';

let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace({
    publishers: { 'jwt-of-the-job': { resource: 'me', token: 'hf_good' } },
    tokens: {
      hf_good: { access: ['org/gated', 'org/second'] },
      hf_waiting: { access: [], pending: ['org/gated'] },
      hf_stranger: { access: [] },
      hf_fine: { access: ['org/gated'], fineGrained: true },
    },
  });
  const files = { 'README.md': 'x', 'config.json': '{}', 'model.safetensors': 'weights' };
  place.hub.addRepo({ id: 'org/gated', files, gated: 'manual' });
  place.hub.addRepo({ id: 'org/second', files, gated: 'auto' });
  place.hub.addRepo({ id: 'org/open', files });
});

afterEach(async () => {
  await place.close();
});

/** Runs work as somebody with this token. */
async function as(token: string | undefined, work: (own: HubPlace) => Promise<Report>): Promise<Report> {
  const own = await place.withEnv(token === undefined ? {} : { HF_TOKEN: token });
  try {
    return await work(own);
  } finally {
    await own.close();
  }
}

describe('a gated repo', () => {
  it.each([
    ['no-token', undefined],
    ['token-without-right', 'hf_fine'],
    ['terms-not-accepted', 'hf_stranger'],
    ['awaiting-review', 'hf_waiting'],
  ])('says why it stays shut: %s', async (access, token) => {
    const item = failureIn(await as(token, (own) => own.snapshot('org/gated')));

    expect(item.error?.code).toBe('E_GATED');
    expect(item.detail).toMatchObject({ access });
    const page = token === 'hf_fine' ? 'https://huggingface.co/settings/tokens' : `${place.hub.url}/org/gated`;
    expect(item.error?.hint).toContain(page);
  });

  it('is tried before the first byte of any repo, with one request and no content', async () => {
    const report = await as('hf_stranger', (own) => own.snapshot(['org/open', 'org/gated', 'org/second']));

    expect(report.items.filter(({ error }) => error?.code === 'E_GATED')).toHaveLength(2);
    const { requests } = place.hub.server;
    const firstByte = requests.findIndex(({ path }) => path.startsWith('/org/open/resolve/'));
    const probes = requests.filter(({ path }) => /^\/org\/(?:gated|second)\/resolve\//.test(path));
    expect(probes.map(({ headers }) => headers.range)).toEqual(['bytes=0-0', 'bytes=0-0']);
    expect(probes.every(({ path }) => !path.includes('README'))).toBe(true);
    expect(probes.every((probe) => requests.indexOf(probe) < firstByte)).toBe(true);
  });

  it('that was renamed says so too, and before the first byte', async () => {
    place.hub.addRepo({ id: 'new/gated', files: { 'config.json': '{}' }, gated: 'auto', movedFrom: ['old/gated'] });
    const item = failureIn(await as('hf_stranger', (own) => own.snapshot('old/gated')));
    expect(item).toMatchObject({
      name: 'old/gated@main',
      error: { code: 'E_GATED' },
      detail: { access: 'terms-not-accepted' },
    });
    expect(place.hub.server.count(/resolve/)).toBe(1);
  });

  it('opens for a token with access', async () => {
    const report = await as('hf_good', (own) => own.snapshot(['org/gated', 'org/second']));

    expect(report.ok).toBe(true);
    expect((await readLockOf(place)).models.every(({ gated }) => gated)).toBe(true);
  });

  it('opens for a token in the file where huggingface_hub keeps it', async () => {
    await writeFile(join(place.directory, 'token'), 'hf_good\n');
    const own = await place.withEnv({ HF_HOME: place.directory });
    expect((await own.snapshot('org/gated')).ok).toBe(true);
    await own.close();
  });

  it('opens for a trusted publisher, with the identity of its CI job', async () => {
    const env = { HF_OIDC_RESOURCE: 'me', HF_TOKEN: 'hf_stranger' };
    const given = await place.withEnv({ ...env, HF_OIDC_ID_TOKEN: 'jwt-of-the-job' });
    expect(await given.snapshot('org/gated')).toMatchObject({ ok: true });
    expect(place.hub.server.count(/^POST \/oauth\/token/)).toBe(1);
    await given.close();
  });

  it('opens for a job of GitHub Actions, which is asked for the identity', async () => {
    const github = await TestServer.start((request, response, url) => {
      const isRight = request.headers.authorization === 'Bearer of-the-runner' && url.pathname === '/idtoken';
      if (!isRight || url.searchParams.get('audience') !== place.hub.url) return false;
      return sendJson(response, 200, { value: 'jwt-of-the-job' });
    });
    const job = await place.withEnv({
      HF_OIDC_RESOURCE: 'me',
      GITHUB_ACTIONS: 'true',
      ACTIONS_ID_TOKEN_REQUEST_URL: `${github.url}/idtoken?api-version=2`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of-the-runner',
    });
    expect(await job.snapshot('org/gated')).toMatchObject({ ok: true });
    await job.close();
    await github.close();
  });

  it.each([
    ['no identity', {}],
    ['an identity that the hub does not trust', { HF_OIDC_ID_TOKEN: 'another-jwt' }],
    ['a job of GitHub without the permission', { GITHUB_ACTIONS: 'true' }],
  ])('stays shut for %s, and no other token is taken', async (_, env) => {
    const own = await place.withEnv({ HF_OIDC_RESOURCE: 'me', HF_TOKEN: 'hf_good', ...env });
    expect(failureIn(await own.snapshot('org/gated')).error?.code).toBe('E_AUTH');
    expect(place.hub.server.count(/^GET/)).toBe(0);
    await own.close();
  });

  it('keeps plan from writing a lock, and pull from fetching it', async () => {
    const manifest = `apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nmodels: [{ repo: org/open }, { repo: org/gated }]\n`;
    await writeFile(join(place.directory, 'm.yaml'), manifest);
    const options = { manifest: 'm.yaml', out: 'lock.json' };

    expect(failureIn(await as('hf_stranger', (own) => plan(options, own.context))).error?.code).toBe('E_GATED');
    expect(await filesBelow(place.directory)).toEqual(['m.yaml']);
    const pulled = await as('hf_stranger', (own) => pull({ manifest: 'm.yaml', store: 'store' }, own.context));
    expect(failureIn(pulled).error?.code).toBe('E_GATED');

    // A lock may be older than the gate.
    expect((await as('hf_good', (own) => plan(options, own.context))).ok).toBe(true);
    const later = await as('hf_stranger', (own) => pull({ manifest: 'lock.json', store: 'other' }, own.context));
    expect(failureIn(later)).toMatchObject({ error: { code: 'E_GATED' }, detail: { access: 'terms-not-accepted' } });
    expect((await as('hf_good', (own) => pull({ manifest: 'lock.json', store: 'other' }, own.context))).ok).toBe(true);
  });
});
