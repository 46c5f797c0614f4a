import { createHash } from 'node:crypto';
import { listFiles, modelInfo, pathsInfo } from '@huggingface/hub';
import { afterEach, describe, expect, it } from 'vitest';
import { startHub, type HubOptions, type TestHub } from './hub.ts';
import { gitSha1 } from './hub-repo.ts';
import { tinyModel } from './repos.ts';

const ID = 'acme/tiny';
const GOOD = { authorization: 'Bearer hf_good' };
const POOR = { authorization: 'Bearer hf_poor' };
const TOKENS = { hf_good: { access: ['acme/gated', 'acme/secret'] }, hf_poor: { access: [] } };
const running: TestHub[] = [];

async function start(options: HubOptions = {}): Promise<TestHub> {
  const hub = await startHub({ tokens: TOKENS, ...options });
  running.push(hub);
  return hub;
}

async function code(url: string, init: RequestInit = {}): Promise<[number, string | null]> {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return [response.status, response.headers.get('x-error-code')];
}

function text(value: Uint8Array | string | undefined): string {
  return Buffer.from(value ?? '').toString('latin1');
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((hub) => hub.close()));
});

describe('metadata', () => {
  it('tells model information, all of it or what was asked for', async () => {
    const hub = await start();
    const { commit } = hub.addRepo({ id: ID, files: tinyModel(1), license: 'mit' });
    const info = (await (await fetch(`${hub.url}/api/models/${ID}?blobs=true`)).json()) as Record<string, unknown>;
    expect(info).toMatchObject({ id: ID, sha: commit, gated: false, author: 'acme', cardData: { license: 'mit' } });
    const siblings = info['siblings'] as { rfilename: string; size: number; lfs?: { sha256: string } }[];
    expect(siblings.find((item) => item.rfilename === 'model.safetensors')?.lfs?.sha256).toMatch(/^[0-9a-f]{64}$/);
    const some = await fetch(`${hub.url}/api/models/${ID}/revision/${commit}?expand=sha&expand=gated`);
    expect(Object.keys((await some.json()) as object).toSorted()).toStrictEqual(['_id', 'gated', 'id', 'sha']);
    expect(await code(`${hub.url}/api/models/${ID}?expand=nonsense`)).toStrictEqual([400, null]);
  });

  it('pages through a tree that the JavaScript library can follow', async () => {
    const hub = await start({ pageSize: 7 });
    const files = tinyModel(2, { manySmall: 30, nonAscii: true });
    hub.addRepo({ id: ID, files });
    const found = [];
    for await (const entry of listFiles({ repo: ID, recursive: true, hubUrl: hub.url })) found.push(entry);
    const paths = found.filter((entry) => entry.type === 'file').map((entry) => entry.path);
    expect(paths.toSorted()).toStrictEqual(Object.keys(files).toSorted());
    expect(found.filter((entry) => entry.type === 'directory').map((entry) => entry.path)).toContain('1_Pooling');
    expect(hub.server.count(/tree/)).toBe(Math.ceil(found.length / 7));
    const config = found.find((entry) => entry.path === 'config.json');
    expect(config?.oid).toBe(gitSha1(Buffer.from(files['config.json'] ?? '')));
  });

  it('answers the JavaScript library', async () => {
    const hub = await start();
    hub.addRepo({ id: 'gpt2', files: tinyModel(3) });
    expect(await modelInfo({ name: 'gpt2', hubUrl: hub.url })).toMatchObject({ name: 'gpt2', gated: false });
    const paths = ['config.json', 'absent', '1_Pooling'];
    const entries = await pathsInfo({ repo: 'gpt2', paths, expand: true, hubUrl: hub.url });
    expect(entries.map((entry) => [entry.path, entry.type])).toStrictEqual([
      ['config.json', 'file'],
      ['1_Pooling', 'directory'],
    ]);
    expect(entries[0]?.securityFileStatus.status).toBe('safe');
  });

  it('answers paths-info in form encoding', async () => {
    const hub = await start();
    hub.addRepo({ id: ID, files: tinyModel(1) });
    const body = new URLSearchParams({ paths: 'model.safetensors', expand: 'False' });
    const response = await fetch(`${hub.url}/api/models/${ID}/paths-info/main`, { method: 'POST', body });
    expect(await response.json()).toMatchObject([{ path: 'model.safetensors', lfs: { pointerSize: 129 } }]);
  });

  it('keeps several commits, branches and tags', async () => {
    const hub = await start();
    const first = hub.addRepo({ id: ID, files: { a: '1' }, tags: ['v1'] });
    const second = hub.addRepo({ id: ID, files: { a: '2' }, branches: ['main', 'refs/pr/1'] });
    expect(second.commit).not.toBe(first.commit);
    const refs = await (await fetch(`${hub.url}/api/models/${ID}/refs?include_prs=1`)).json();
    expect(refs).toMatchObject({
      branches: [{ name: 'main', ref: 'refs/heads/main', targetCommit: second.commit }],
      tags: [{ name: 'v1', ref: 'refs/tags/v1', targetCommit: first.commit }],
      pullRequests: [{ name: 'refs/pr/1', targetCommit: second.commit }],
    });
    for (const [revision, content] of [
      ['v1', '1'],
      [first.commit, '1'],
      ['main', '2'],
      ['refs%2Fpr%2F1', '2'],
    ]) {
      expect(await (await fetch(`${hub.url}/${ID}/resolve/${revision}/a`)).text()).toBe(content);
    }
  });

  it('has datasets and spaces beside models', async () => {
    const hub = await start();
    hub.addRepo({ id: ID, type: 'dataset', files: { 'data.csv': 'a,b\n' } });
    hub.addRepo({ id: ID, type: 'space', files: { 'app.py': 'pass\n' } });
    expect(await (await fetch(`${hub.url}/datasets/${ID}/resolve/main/data.csv`)).text()).toBe('a,b\n');
    expect(await (await fetch(`${hub.url}/spaces/${ID}/resolve/main/app.py`)).text()).toBe('pass\n');
    expect(await code(`${hub.url}/api/models/${ID}`)).toStrictEqual([401, 'RepoNotFound']);
    expect(await code(`${hub.url}/api/datasets/${ID}`)).toStrictEqual([200, null]);
  });
});

describe('files', () => {
  it('redirects regular files within the host and LFS files to the other one', async () => {
    const hub = await start();
    const files = tinyModel(1);
    const { commit } = hub.addRepo({ id: ID, files });
    const url = `${hub.url}/${ID}/resolve/main`;
    const regular = await fetch(`${url}/1_Pooling/config.json`, { redirect: 'manual', method: 'HEAD' });
    expect(regular.status).toBe(307);
    expect(regular.headers.get('location')).toMatch(
      new RegExp(String.raw`^/api/resolve-cache/models/acme/tiny/${commit}/1_Pooling%2Fconfig\.json\?.*&etag=%22`),
    );
    expect(regular.headers.get('x-repo-commit')).toBe(commit);
    const cached = await fetch(`${url}/1_Pooling/config.json`);
    const etag = gitSha1(Buffer.from(files['1_Pooling/config.json'] ?? ''));
    expect(cached.headers.get('etag')).toBe(`"${etag}"`);
    const large = await fetch(`${url}/model.safetensors`, { redirect: 'manual' });
    expect(large.status).toBe(302);
    expect(large.headers.get('location')?.startsWith(`${hub.cdnUrl}/xet-bridge-us/`)).toBe(true);
    const bytes = Buffer.from(await (await fetch(`${url}/model.safetensors`)).arrayBuffer());
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    expect(large.headers.get('x-linked-etag')).toBe(`"${sha256}"`);
    const headers = { range: 'bytes=8-15' };
    const part = await fetch(`${url}/model.safetensors`, { headers });
    expect([part.status, part.headers.get('content-range')]).toStrictEqual([206, `bytes 8-15/${bytes.length}`]);
    expect(Buffer.from(await part.arrayBuffer())).toStrictEqual(bytes.subarray(8, 16));
  });

  it('serves regular files at once when told to be old', async () => {
    const hub = await start({ direct: true });
    hub.addRepo({ id: ID, files: { a: 'x' } });
    const response = await fetch(`${hub.url}/${ID}/resolve/main/a`, { redirect: 'manual' });
    expect([response.status, response.headers.get('etag')]).toStrictEqual([200, `"${gitSha1(Buffer.from('x'))}"`]);
  });

  it('compresses text unless identity is asked for', async () => {
    const hub = await start();
    hub.addRepo({ id: ID, files: { 'long.json': 'x'.repeat(5000) } });
    const url = `${hub.url}/${ID}/resolve/main/long.json`;
    const packed = await fetch(url);
    expect([packed.headers.get('content-encoding'), packed.headers.get('content-length')]).toStrictEqual([
      'gzip',
      null,
    ]);
    expect(await packed.text()).toHaveLength(5000);
    const plain = await fetch(url, { method: 'HEAD', headers: { 'accept-encoding': 'identity' } });
    expect(plain.headers.get('content-length')).toBe('5000');
  });

  it('serves odd names and empty files', async () => {
    const hub = await start();
    const files = tinyModel(5, { nonAscii: true });
    hub.addRepo({ id: ID, files });
    for (const path of ['assets/größe + 量.txt', 'assets/.gitkeep']) {
      const response = await fetch(
        `${hub.url}/${ID}/resolve/main/${path.split('/').map(encodeURIComponent).join('/')}`,
      );
      expect(Buffer.from(await response.arrayBuffer()).toString('latin1')).toBe(text(files[path]));
    }
  });

  it('refuses signed addresses that are changed or expired', async () => {
    const hub = await start();
    hub.addRepo({ id: ID, files: tinyModel(1) });
    const response = await fetch(`${hub.url}/${ID}/resolve/main/model.safetensors`, { redirect: 'manual' });
    const signed = response.headers.get('location') ?? '';
    expect(await code(signed)).toStrictEqual([200, null]);
    expect(await code(signed.replace(/Signature=../, 'Signature=zz'))).toStrictEqual([403, null]);
    hub.expireUrls();
    expect(await code(signed)).toStrictEqual([403, null]);
  });

  it('fails the test when a token reaches the other host', async () => {
    const hub = await startHub();
    hub.addRepo({ id: ID, files: tinyModel(1) });
    const response = await fetch(`${hub.url}/${ID}/resolve/main/model.safetensors`, { redirect: 'manual' });
    await fetch(response.headers.get('location') ?? '', { headers: GOOD });
    await expect(hub.close()).rejects.toThrow('unexpected requests: GET /xet-bridge-us/');
  });
});

describe('refusals', () => {
  const repos = [
    { id: ID, files: tinyModel(1), movedFrom: ['old/tiny'] },
    { id: 'acme/gated', files: tinyModel(1), gated: 'manual' as const },
    { id: 'acme/secret', files: tinyModel(1), private: true },
    { id: 'acme/gone', files: tinyModel(1), disabled: true },
  ];

  it.each([
    ['missing, anonymous', '/api/models/acme/nothing', {}, [401, 'RepoNotFound']],
    ['missing, with a token', '/api/models/acme/nothing', POOR, [404, 'RepoNotFound']],
    ['private, anonymous', '/acme/secret/resolve/main/config.json', {}, [401, 'RepoNotFound']],
    ['private, with a poor token', '/acme/secret/resolve/main/config.json', POOR, [404, 'RepoNotFound']],
    ['private, with a good token', '/acme/secret/resolve/main/config.json', GOOD, [200, null]],
    ['gated, anonymous', '/acme/gated/resolve/main/config.json', {}, [401, 'GatedRepo']],
    ['gated, with a poor token', '/acme/gated/resolve/main/config.json', POOR, [403, 'GatedRepo']],
    ['gated, with a good token', '/acme/gated/resolve/main/config.json', GOOD, [200, null]],
    ['gated, metadata', '/api/models/acme/gated/tree/main', {}, [200, null]],
    ['disabled', '/api/models/acme/gone', {}, [403, null]],
    ['revision', `/api/models/${ID}/revision/nope`, {}, [404, 'RevisionNotFound']],
    ['file', `/${ID}/resolve/main/nope`, {}, [404, 'EntryNotFound']],
    ['folder', `/api/models/${ID}/tree/main/nope`, {}, [404, 'EntryNotFound']],
    ['bad token', `/api/models/${ID}`, { authorization: 'Bearer hf_bad' }, [401, null]],
    ['renamed', '/api/models/old/tiny', {}, [200, null]],
    ['another case', '/Acme/Tiny/resolve/main/config.json', {}, [200, null]],
    ['whoami, anonymous', '/api/whoami-v2', {}, [401, null]],
    ['whoami, bad token', '/api/whoami-v2', { authorization: 'Bearer hf_bad' }, [401, null]],
    ['whoami', '/api/whoami-v2', GOOD, [200, null]],
    ['agent harnesses', '/api/agent-harnesses', {}, [404, null]],
  ])('%s', async (_name, path, headers, expected) => {
    const hub = await start({ repos });
    expect(await code(hub.url + path, { headers: { ...headers } })).toStrictEqual(expected);
  });

  it('names the commit when a file is missing', async () => {
    const hub = await start();
    const { commit } = hub.addRepo({ id: ID, files: { a: 'x' } });
    const response = await fetch(`${hub.url}/${ID}/resolve/main/nope`, { method: 'HEAD' });
    expect(response.headers.get('x-repo-commit')).toBe(commit);
  });

  it('limits the rate', async () => {
    const hub = await start({ limits: { api: 2 }, repos });
    const results = [];
    for (let index = 0; index < 3; index += 1) results.push(await fetch(`${hub.url}/api/models/${ID}`));
    expect(results.map((item) => item.status)).toStrictEqual([200, 200, 429]);
    expect(results[2]?.headers.get('ratelimit')).toMatch(/^"api";r=0;t=\d+$/);
  });

  it('fails the test for a request that it does not know', async () => {
    const hub = await startHub();
    await fetch(`${hub.url}/api/models?search=x`);
    await expect(hub.close()).rejects.toThrow('unexpected requests: GET /api/models?search=x');
  });
});

describe('tinyModel', () => {
  it('is the same for the same seed and has valid safetensors', () => {
    const files = tinyModel(7, { weightsBytes: 10_000 });
    expect(tinyModel(7, { weightsBytes: 10_000 })).toStrictEqual(files);
    expect(tinyModel(8)['vocab.txt']).not.toBe(files['vocab.txt']);
    const bytes = Buffer.from(files['model.safetensors'] ?? '');
    const length = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { data_offsets?: number[] }>;
    const spans = Object.values(header).flatMap((tensor) => (tensor.data_offsets ? [tensor.data_offsets] : []));
    expect(spans[0]?.[0]).toBe(0);
    expect(spans[1]).toStrictEqual([spans[0]?.[1], bytes.length - 8 - length]);
    expect(Math.abs(bytes.length - 8 - length - 10_000)).toBeLessThan(32);
  });
});
