import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import {
  buildArtifact,
  buildImage,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  multiArch,
  type BuiltImage,
} from './images.ts';
import { startRegistry, type RegistryOptions, type TestRegistry } from './registry.ts';

const BASIC = { authorization: `Basic ${Buffer.from('u:p').toString('base64')}` };
const ACCEPT = { accept: Object.values(MEDIA_TYPES).join(', ') };
const running: TestRegistry[] = [];

afterEach(async () => {
  for (const registry of running.splice(0)) await registry.close();
});

async function start(options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  running.push(registry);
  return registry;
}

/** The status and the code of the first error. */
async function refusal(response: Response): Promise<[number, string | undefined]> {
  const body = (await response.json()) as { errors: { code: string }[] };
  return [response.status, body.errors[0]?.code];
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Opens an upload and gives the absolute form of its Location. */
async function open(registry: TestRegistry, repository: string, query = ''): Promise<string> {
  const response = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/${query}`, { method: 'POST' });
  expect(response.status).toBe(202);
  return next(registry, response);
}

function next(registry: TestRegistry, response: Response): string {
  const location = response.headers.get('location') ?? '';
  return location.startsWith('/') ? registry.url + location : location;
}

async function putManifest(
  registry: TestRegistry,
  path: string,
  image: BuiltImage,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${registry.url}/v2/${path}`, {
    method: 'PUT',
    body: image.bytes,
    headers: { 'content-type': image.mediaType, ...headers },
  });
}

describe('uploads', () => {
  it('completes a monolithic upload, in one repository only', async () => {
    const registry = await start();
    const upload = await open(registry, 'a/b');
    const digest = sha256('hello');

    const response = await fetch(`${upload}&digest=${encodeURIComponent(digest)}`, { method: 'PUT', body: 'hello' });

    expect(response.status).toBe(201);
    expect(registry.openUploads).toBe(0);
    const here = await fetch(`${registry.url}/v2/a/b/blobs/${digest}`, { headers: { range: 'bytes=1-3' } });
    expect([here.status, here.headers.get('content-range'), await here.text()]).toEqual([206, 'bytes 1-3/5', 'ell']);
    expect(await refusal(await fetch(`${registry.url}/v2/other/blobs/${digest}`))).toEqual([404, 'BLOB_UNKNOWN']);
  });

  it('takes sha512 digests', async () => {
    const registry = await start();
    const digest = `sha512:${createHash('sha512').update('hello').digest('hex')}`;
    const upload = await open(registry, 'a');

    const response = await fetch(`${upload}&digest=${digest}`, { method: 'PUT', body: 'hello' });

    expect(response.headers.get('docker-content-digest')).toBe(digest);
    expect(registry.blob('a', digest)).toEqual(Buffer.from('hello'));
  });

  it('refuses bytes that are not what the digest says', async () => {
    const registry = await start();
    const upload = await open(registry, 'a');

    const response = await fetch(`${upload}&digest=${sha256('hello')}`, { method: 'PUT', body: 'hullo' });

    expect(await refusal(response)).toEqual([400, 'DIGEST_INVALID']);
    expect(registry.repositories()).toEqual([]);
  });

  it('refuses a Location whose query was taken apart and encoded anew', async () => {
    const registry = await start({ location: 'absolute' });
    const url = new URL(await open(registry, 'a'));
    url.searchParams.append('digest', sha256('hello'));

    const response = await fetch(url, { method: 'PUT', body: 'hello' });

    expect(await refusal(response)).toEqual([404, 'BLOB_UPLOAD_INVALID']);
  });

  it('checks the offsets of chunks and says where to go on', async () => {
    const registry = await start();
    const first = await open(registry, 'a');
    const patch = (url: string, range: string, body: string): Promise<Response> =>
      fetch(url, {
        method: 'PATCH',
        body,
        headers: { 'content-range': range, 'content-type': 'application/octet-stream' },
      });
    const accepted = await patch(first, '0-2', 'hel');
    expect([accepted.status, accepted.headers.get('range')]).toEqual([202, '0-2']);

    const twice = await patch(first, '0-2', 'hel');
    expect([twice.status, twice.headers.get('range')]).toEqual([416, '0-2']);
    const status = await fetch(first);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-2']);
    const last = await patch(next(registry, status), '3-4', 'lo');
    const done = await fetch(`${next(registry, last)}&digest=${sha256('hello')}`, { method: 'PUT' });

    expect(done.status).toBe(201);
  });

  it('keeps what had arrived when the connection broke', async () => {
    const registry = await start();
    const upload = await open(registry, 'a');
    await new Promise<void>((resolve) => {
      const broken = request(upload, { method: 'PATCH', headers: { 'content-length': '5' } });
      broken.on('error', () => resolve());
      broken.write('hel', () => setTimeout(() => broken.destroy(new Error('broken on purpose')), 50));
    });

    const status = await fetch(upload);
    const stale = await fetch(`${upload}&digest=${sha256('hello')}`, { method: 'PUT', body: 'hello' });
    const rest = await fetch(`${next(registry, status)}&digest=${sha256('hello')}`, { method: 'PUT', body: 'lo' });

    expect(status.headers.get('range')).toBe('0-2');
    expect(await refusal(stale)).toEqual([404, 'BLOB_UPLOAD_INVALID']);
    expect(rest.status).toBe(201);
  });

  it('mounts, unless told not to', async () => {
    const image = buildImage({ seed: 1 });
    const [digest = ''] = image.blobs.keys();
    const statusWith = async (options: RegistryOptions, query: string): Promise<number> => {
      const registry = await start(options);
      registry.put('from', image);
      const url = `${registry.url}/v2/to/blobs/uploads/?mount=${digest}${query}`;
      return (await fetch(url, { method: 'POST' })).status;
    };

    expect(await statusWith({}, '&from=from')).toBe(201);
    expect(await statusWith({}, '&from=elsewhere')).toBe(202);
    expect(await statusWith({}, '')).toBe(202);
    expect(await statusWith({ mount: false }, '&from=from')).toBe(202);
    expect(await statusWith({ mount: 405 }, '&from=from')).toBe(405);
  });

  it('completes a blob with one POST only when told to', async () => {
    const post = async (registry: TestRegistry): Promise<number> => {
      const url = `${registry.url}/v2/a/blobs/uploads/?digest=${sha256('{}')}`;
      return (await fetch(url, { method: 'POST', body: '{}' })).status;
    };

    expect(await post(await start())).toBe(202);
    expect(await post(await start({ singlePost: true }))).toBe(201);
  });

  it('cancels', async () => {
    const registry = await start({ maxUploadBytes: 4 });
    const upload = await open(registry, 'a');
    expect(await refusal(await fetch(upload, { method: 'PATCH', body: 'hello' }))).toEqual([413, 'SIZE_INVALID']);

    expect((await fetch(upload, { method: 'DELETE' })).status).toBe(204);

    expect(await refusal(await fetch(upload))).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });
});

describe('manifests', () => {
  it('keeps exact bytes and honours Accept', async () => {
    const registry = await start();
    const image = multiArch('m');
    registry.put('a/b', image, 'v1');
    const url = `${registry.url}/v2/a/b/manifests/v1`;

    const response = await fetch(url, { headers: ACCEPT });

    expect(Buffer.from(await response.arrayBuffer())).toEqual(image.bytes);
    expect(response.headers.get('content-type')).toBe(image.mediaType);
    expect(response.headers.get('docker-content-digest')).toBe(image.digest);
    expect((await fetch(url)).status).toBe(404);
    expect((await fetch(url, { headers: { accept: MEDIA_TYPES.ociManifest } })).status).toBe(404);
  });

  it('wants blobs and children first, children unless sparse', async () => {
    const index = multiArch('m');
    const registry = await start();
    const sparse = await start({ sparse: true });

    expect(await refusal(await putManifest(registry, 'a/manifests/v1', index))).toEqual([400, 'MANIFEST_BLOB_UNKNOWN']);
    expect((await putManifest(sparse, 'a/manifests/v1', index)).status).toBe(201);
    const image = buildImage({ seed: 1 });
    expect(await refusal(await putManifest(sparse, 'a/manifests/x', image))).toEqual([400, 'MANIFEST_BLOB_UNKNOWN']);
  });

  it('refuses what is not what it claims to be', async () => {
    const registry = await start();
    const image = buildImage({ seed: 1 });
    registry.put('a', image);
    const other = buildImage({ seed: 2 }).digest;
    const large = { ...image, bytes: Buffer.alloc(4 * 1024 * 1024 + 1, ' ') };

    const put = async (reference: string, what: BuiltImage, type = what.mediaType): Promise<unknown> =>
      refusal(await putManifest(registry, `a/manifests/${reference}`, what, { 'content-type': type }));

    expect(await put(other, image)).toEqual([400, 'DIGEST_INVALID']);
    expect(await put('v1', image, MEDIA_TYPES.ociIndex)).toEqual([400, 'MANIFEST_INVALID']);
    expect(await put('v1', large)).toEqual([413, 'MANIFEST_INVALID']);
    expect(await put('-v1', image)).toEqual([400, 'TAG_INVALID']);
    expect(registry.tags('a')).toEqual([]);
  });

  it('deletes by tag and by digest', async () => {
    const registry = await start();
    const image = buildImage({ seed: 1 });
    for (const tag of ['v1', 'v2']) registry.put('a', image, tag);
    const url = `${registry.url}/v2/a/manifests`;

    expect((await fetch(`${url}/v1`, { method: 'DELETE' })).status).toBe(202);
    expect(registry.tags('a')).toEqual(['v2']);
    expect((await fetch(`${url}/${image.digest}`, { method: 'DELETE' })).status).toBe(202);
    expect(registry.manifest('a', 'v2')).toBeUndefined();
  });

  it('protects tags, and itself when read-only', async () => {
    const image = buildImage({ seed: 1 });
    const putWith = async (options: RegistryOptions): Promise<unknown> => {
      const registry = await start(options);
      registry.put('a', image, 'v1');
      return refusal(await putManifest(registry, 'a/manifests/v1', image));
    };

    expect(await putWith({ immutableTags: true })).toEqual([400, 'TAG_INVALID']);
    expect(await putWith({ immutableTags: 409 })).toEqual([409, 'CONFLICT']);
    expect(await putWith({ readOnly: true })).toEqual([405, 'UNSUPPORTED']);
  });

  it('can resolve a digest tag to the subject itself', async () => {
    const registry = await start({ digestTagIsSubject: true, referrers: false });
    const image = buildImage({ seed: 1 });
    registry.put('a', image);

    const response = await fetch(`${registry.url}/v2/a/manifests/${fallbackTag(image.digest)}`, { headers: ACCEPT });

    expect(response.headers.get('docker-content-digest')).toBe(image.digest);
  });
});

describe('lists', () => {
  it('pages tags', async () => {
    const registry = await start({ pageSize: 2 });
    const image = buildImage({ seed: 1 });
    for (const tag of ['c', 'a', 'b']) registry.put('x/y', image, tag);

    const first = await fetch(`${registry.url}/v2/x/y/tags/list?n=50`);
    const [, link = ''] = /^<(.+)>; rel="next"$/.exec(first.headers.get('link') ?? '') ?? [];
    const second = await fetch(registry.url + link);

    expect(await first.json()).toEqual({ name: 'x/y', tags: ['a', 'b'] });
    expect(await second.json()).toEqual({ name: 'x/y', tags: ['c'] });
    expect(second.headers.get('link')).toBeNull();
    expect(await refusal(await fetch(`${registry.url}/v2/none/tags/list`))).toEqual([404, 'NAME_UNKNOWN']);
  });

  it('knows referrers, filters and pages them', async () => {
    const registry = await start({ pageSize: 1 });
    const image = buildImage({ seed: 1 });
    const subject = descriptorOf(image);
    const one = buildArtifact({ seed: 1, artifactType: 'test/one', subject, annotations: { a: 'b' } });
    const two = buildArtifact({ seed: 2, artifactType: 'test/two', subject });
    for (const item of [image, one, two]) registry.put('a', item);
    const url = `${registry.url}/v2/a/referrers/${image.digest}`;

    const put = await putManifest(registry, `a/manifests/${one.digest}`, one);
    const page = await fetch(url);
    const filtered = await fetch(`${url}?artifactType=test/two`);

    expect(put.headers.get('oci-subject')).toBe(image.digest);
    expect(page.headers.get('link')).toContain('next=1');
    expect(await page.json()).toMatchObject({ manifests: [{ ...descriptorOf(one), annotations: { a: 'b' } }] });
    expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(await filtered.json()).toMatchObject({ manifests: [descriptorOf(two)] });
  });

  it('has no referrers API when told so', async () => {
    const registry = await start({ referrers: false });
    const image = buildImage({ seed: 1 });
    const artifact = buildArtifact({ seed: 1, artifactType: 'test/one', subject: descriptorOf(image) });
    registry.put('a', artifact);

    const put = await putManifest(registry, `a/manifests/${artifact.digest}`, artifact);

    expect([put.status, put.headers.get('oci-subject')]).toEqual([201, null]);
    expect((await fetch(`${registry.url}/v2/a/referrers/${image.digest}`)).status).toBe(404);
  });
});

describe('authorisation', () => {
  const bearer = { kind: 'bearer', user: 'u', password: 'p', pullAnonymous: true } as const;

  async function token(registry: TestRegistry, scope: string, headers: Record<string, string>): Promise<string> {
    const response = await fetch(`${registry.url}/token?service=test-registry&scope=${scope}`, { headers });
    return `Bearer ${((await response.json()) as { token: string }).token}`;
  }

  it('challenges with the scope that is wanted', async () => {
    const registry = await start({ auth: bearer });

    const response = await fetch(`${registry.url}/v2/a/b/blobs/uploads/?mount=x&from=c`, { method: 'POST' });

    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer realm="${registry.url}/token",service="test-registry",scope="repository:a/b:pull,push repository:c:pull"`,
    );
    expect(await refusal(response)).toEqual([401, 'UNAUTHORIZED']);
  });

  it('gives tokens that are good for their scope, and for their time', async () => {
    const registry = await start({ auth: bearer });
    const post = async (authorization: string): Promise<Response> =>
      fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST', headers: { authorization } });

    const anonymous = await post(await token(registry, 'repository:a:pull,push', {}));
    const elsewhere = await post(await token(registry, 'repository:b:pull,push', BASIC));
    const good = await token(registry, 'repository:a:pull,push', BASIC);

    expect(anonymous.headers.get('www-authenticate')).toContain('error="insufficient_scope"');
    expect(elsewhere.status).toBe(401);
    expect((await post(good)).status).toBe(202);
    registry.expireTokens();
    expect((await post(good)).headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  it('takes an identity token by POST, only if it has one', async () => {
    const form = { grant_type: 'refresh_token', service: 'test-registry', client_id: 'test', refresh_token: 'r' };
    const post = async (refreshToken: object): Promise<Response> => {
      const registry = await start({ auth: { ...bearer, ...refreshToken } });
      return fetch(`${registry.url}/token`, { method: 'POST', body: new URLSearchParams(form) });
    };

    expect((await post({})).status).toBe(404);
    expect((await post({ refreshToken: 'other' })).status).toBe(401);
    expect(await (await post({ refreshToken: 'r' })).json()).toHaveProperty('access_token');
  });

  it('takes basic credentials', async () => {
    const registry = await start({ auth: { kind: 'basic', user: 'u', password: 'p' } });

    expect((await fetch(`${registry.url}/v2/`)).headers.get('www-authenticate')).toMatch(/^Basic /);
    expect((await fetch(`${registry.url}/v2/`, { headers: BASIC })).status).toBe(200);
  });
});

describe('blobs', () => {
  const image = buildImage({ seed: 1 });
  const [digest = '', bytes = new Uint8Array()] = [...image.blobs][0] ?? [];

  it('come from a second server, by URLs that expire', async () => {
    const registry = await start({ redirectBlobs: true });
    registry.put('a', image);
    const url = `${registry.url}/v2/a/blobs/${digest}`;

    const response = await fetch(url, { headers: { range: 'bytes=2-' } });
    const signed = response.url;
    registry.expireRedirects();

    expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(bytes.subarray(2)));
    expect([registry.server.count(/^GET .*blobs/), registry.cdn.count(/^GET/)]).toEqual([1, 1]);
    expect((await fetch(signed)).status).toBe(403);
    expect((await fetch(url)).status).toBe(200);
  });

  it('fail the test if credentials reach the second server', async () => {
    const registry = await startRegistry({ redirectBlobs: true });
    registry.put('a', image);
    const redirect = await fetch(`${registry.url}/v2/a/blobs/${digest}`, { redirect: 'manual' });

    const response = await fetch(redirect.headers.get('location') ?? '', { headers: BASIC });

    expect(response.status).toBe(400);
    await expect(registry.close()).rejects.toThrow('with Authorization');
  });

  it('come whole where a range ends before it begins', async () => {
    const registry = await start();
    registry.put('a', image);

    const response = await fetch(`${registry.url}/v2/a/blobs/${digest}`, { headers: { range: 'bytes=5-0' } });

    expect([response.status, (await response.arrayBuffer()).byteLength]).toEqual([200, bytes.length]);
  });

  it('come whole when ranges are ignored', async () => {
    const registry = await start({ range: false });
    registry.put('a', image);

    const response = await fetch(`${registry.url}/v2/a/blobs/${digest}`, { headers: { range: 'bytes=2-' } });

    expect([response.status, response.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
  });
});

describe('the registry', () => {
  it('fails the test on a request that it does not know', async () => {
    const registry = await startRegistry();

    expect((await fetch(`${registry.url}/v2/_catalog`)).status).toBe(501);

    await expect(registry.close()).rejects.toThrow('GET /v2/_catalog');
  });
});
