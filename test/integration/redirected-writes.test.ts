import { describe, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { contentOf } from '../../src/core/stream.ts';
import type { RegistryRepository } from '../../src/oci/registry/repository.ts';
import {
  basic,
  blob,
  bytes,
  challenge,
  identity,
  password,
  read,
  repositoryAt,
  start,
  stranger,
  told,
} from '../support/access-servers.ts';
import { withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import { buildArtifact, buildImage, descriptorOf, multiArch } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { readBody, type TestServer } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

/** Registries and what stands before them may redirect what is written, as they redirect what is read. */

interface Taken {
  asked: string;
  body: Buffer;
}

interface Place extends TestServer {
  taken: Taken[];
}

/**
 * Takes uploads and manifests.
 * @param moved answers in place of that
 */
async function taking(
  moved?: (asked: string, path: string) => { status: number; location?: string; early?: boolean } | undefined,
  tls?: ReturnType<typeof serverTls>,
): Promise<Place> {
  const taken: Taken[] = [];
  const server = await start(async (request, response) => {
    const { method = '', url: path = '' } = request;
    if (moved && request.headers.authorization === undefined) {
      await readBody(request);
      return challenge(response, 'Basic realm="r"');
    }
    const to = moved?.(`${method} ${path}`, path);
    if (to?.early !== true) taken.push({ asked: `${method} ${path}`, body: await readBody(request) });
    if (to) response.writeHead(to.status, to.location === undefined ? {} : { location: to.location }).end();
    else if (method === 'PUT') response.writeHead(201).end();
    else response.writeHead(202, { location: '/v2/team/app/blobs/uploads/1?_state=a%2Bb' }).end();
    return true;
  }, tls);
  return Object.assign(server, { taken });
}

const manifestBytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
const manifest = {
  mediaType: 'application/vnd.oci.image.index.v1+json',
  digest: sha256(manifestBytes),
  size: manifestBytes.length,
};
const pushBlob = async (repository: RegistryRepository): Promise<unknown> => repository.push(blob, contentOf(bytes));
const pushMade = async (repository: RegistryRepository): Promise<unknown> =>
  repository.pushMade('a blob', contentOf(bytes));
const pushManifest = async (repository: RegistryRepository): Promise<unknown> =>
  repository.push(manifest, contentOf(manifestBytes));

describe.each([307, 308])('a %i that answers', (status) => {
  it.each<[string, RegExp, (repository: RegistryRepository) => Promise<unknown>, Buffer]>([
    ['the beginning of an upload', /^POST/, pushBlob, bytes],
    ['the body of a blob', /^PUT/, pushBlob, bytes],
    ['a chunk', /^PATCH/, pushMade, bytes],
    ['the end of an upload', /^PUT/, pushMade, Buffer.alloc(0)],
    ['a manifest', /^PUT/, pushManifest, manifestBytes],
  ])('%s leads there with the whole body, and without any credential', async (_, moved, push, body) => {
    const store = await taking();
    const registry = await taking((asked, path) =>
      moved.test(asked) ? { status, location: `${store.url}${path}` } : undefined,
    );

    await push(repositoryAt(registry.host));

    expect(store.taken.toSorted((one, other) => other.body.length - one.body.length)[0]?.body).toEqual(body);
    expect(told(registry)).toContain(password);
    expect(told(store)).not.toMatch(/canary|authorization/);
  });
});

describe('what a registry redirects', () => {
  it('at once, before it has read any of it, is sent whole', async () => {
    const large = Buffer.alloc(6 * 1024 * 1024, 'layer');
    const store = await taking();
    const registry = await taking((asked, path) =>
      asked.startsWith('PUT') ? { status: 307, location: `${store.url}${path}`, early: true } : undefined,
    );

    await repositoryAt(registry.host).push(
      { mediaType: 'application/octet-stream', digest: sha256(large), size: large.length },
      contentOf(large),
    );

    expect(store.taken.map(({ body }) => sha256(body))).toEqual([sha256(large)]);
  });

  it('to another of its own addresses keeps the credential', async () => {
    const registry = await taking((asked, path) =>
      asked.startsWith('PUT') && !path.includes('moved') ? { status: 308, location: `${path}&moved` } : undefined,
    );

    await pushBlob(repositoryAt(registry.host));

    expect(registry.taken.map(({ asked }) => asked.replace(/digest=[^&]*/, 'D'))).toEqual([
      'POST /v2/team/app/blobs/uploads/',
      'PUT /v2/team/app/blobs/uploads/1?_state=a%2Bb&D',
      'PUT /v2/team/app/blobs/uploads/1?_state=a%2Bb&D&moved',
    ]);
  });

  it('to another host and back is asked for as anybody may: that host does not choose what is done in our name', async () => {
    let elsewhere = '';
    const registry = await taking((asked, path) =>
      asked.startsWith('PUT') ? { status: 307, location: `${elsewhere}${path}` } : undefined,
    );
    const sendsBack = await start(async (request, response) => {
      await readBody(request);
      response.writeHead(307, { location: `${registry.url}/v2/other/manifests/back` }).end();
      return true;
    });
    elsewhere = sendsBack.url;

    const error = await failureOf(pushBlob(repositoryAt(registry.host)));

    expect(error.code).toBe('E_AUTH');
    const back = registry.requests.filter(({ path }) => path.includes('back'));
    expect(back.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    expect(registry.taken.filter(({ asked }) => asked.includes('back'))).toEqual([]);
  });

  it('by http behind a proxy that ends TLS goes on by HTTPS', async () => {
    const registry = await taking((asked, path) => {
      const location = `http://${registry.host}${path}&moved`;
      return asked.startsWith('PUT') && !path.includes('moved') ? { status: 307, location } : undefined;
    }, serverTls());

    await pushBlob(repositoryAt(registry.host, basic, { insecureHosts: [], ca: pem('ca.pem') }));

    expect(registry.taken.at(-1)?.asked).toContain('moved');
  });

  it('without end is given up', async () => {
    const registry = await taking((asked, path) =>
      asked.startsWith('PUT') ? { status: 307, location: `${path}x` } : undefined,
    );

    const error = await failureOf(pushBlob(repositoryAt(registry.host)));

    expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'target']);
    expect(registry.count(/^PUT/)).toBe(11);
  });

  it.each(['file:///tmp/upload', 'ftp://127.0.0.1/x', 'http://169.254.169.254/x', 'http://[fe80::1]/x', 'http://['])(
    'to %s is refused',
    async (location) => {
      const registry = await taking((asked) => (asked.startsWith('PUT') ? { status: 307, location } : undefined));

      const error = await failureOf(pushBlob(repositoryAt(registry.host)));

      expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'target']);
      expect(registry.count(/^PUT/)).toBe(1);
    },
  );

  it.each<[number, string, (repository: RegistryRepository) => Promise<unknown>]>([
    [301, 'POST', pushBlob],
    [302, 'POST', pushBlob],
    [303, 'PUT', pushBlob],
    [302, 'PATCH', pushMade],
    [302, 'PUT', pushManifest],
  ])('by %i, under which others forget the body (%s), is told with where it leads', async (status, method, push) => {
    const login = await stranger();
    const registry = await taking((asked) =>
      asked.startsWith(method) ? { status, location: `${login.url}/login?signature=canary` } : undefined,
    );

    const error = await failureOf(push(repositoryAt(registry.host)));

    expect([error.code, error.at.side, error.at.status]).toEqual(['E_PROTOCOL', 'target', status]);
    expect(error.message).toContain(`${login.url}/login`);
    expect(error.hint).toContain('307');
    expect(`${error.message} ${error.hint}`).not.toContain('canary');
    expect(login.requests).toEqual([]);
  });

  it('from HTTP to its own HTTPS is told to be asked so', async () => {
    const registry = await taking((asked) =>
      asked.startsWith('POST') ? { status: 301, location: 'https://127.0.0.1/v2/' } : undefined,
    );

    const error = await failureOf(pushBlob(repositoryAt(registry.host)));

    expect(error.code).toBe('E_PROTOCOL');
    expect(error.hint).toContain(`--insecure-host ${registry.host}`);
  });

  it('to nowhere is told', async () => {
    const registry = await taking((asked) => (asked.startsWith('PUT') ? { status: 307 } : undefined));

    const error = await failureOf(pushBlob(repositoryAt(registry.host)));

    expect([error.code, error.at.side, error.at.status]).toEqual(['E_PROTOCOL', 'target', 307]);
  });
});

it('an identity token is not sent on to where a token server redirects it', async () => {
  const thief = await stranger();
  const registry = await start((request, response) => {
    if (!request.url?.startsWith('/token')) return challenge(response, 'Bearer realm="/token"');
    response.writeHead(307, { location: `${thief.url}/token` }).end();
    return true;
  });

  const error = await failureOf(read(repositoryAt(registry.host, { kind: 'identity', token: identity })));

  expect([error.code, error.at.status]).toEqual(['E_PROTOCOL', 307]);
  expect(thief.requests).toEqual([]);
});

it('a registry that redirects everything gets an image with all that belongs to it, where it leads', async () => {
  const elsewhere = await startRegistry();
  try {
    await withCopyWorld({}, async ({ source, zone, run }) => {
      const image = multiArch('sent on');
      const sbom = buildArtifact({ seed: 'sbom', subject: descriptorOf(image) });
      source.put('app', image, 'v1');
      source.put('app', sbom);
      source.put('app', buildImage({ seed: 'large', layerBytes: 3 * 1024 * 1024 }), 'v2');
      zone.server.faults = ({ path }) => ({
        kind: 'status',
        status: 307,
        headers: { location: `${elsewhere.url}${path}` },
      });

      const report = await run({ source: 'SOURCE/app', target: 'ZONE/app', allTags: true });

      expect(report.ok).toBe(true);
      expect(elsewhere.tags('app')).toEqual(['v1', 'v2']);
      expect(elsewhere.manifest('app', sbom.digest)).toBeDefined();
      expect(elsewhere.openUploads).toBe(0);
    });
  } finally {
    await elsewhere.close();
  }
});
