import { afterEach, describe, expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { HttpClient, type HttpClientOptions } from '../../src/http/client.ts';
import { proxyRules } from '../../src/http/proxy.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import type { RegistryRepository } from '../../src/oci/registry/repository.ts';
import { sha256 } from '../../src/core/digest.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { startProxy } from '../support/proxy.ts';
import { type Handler, readBody, TestServer } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

/** Where credentials go, and where a server may send us. */

const password = 'canary-password';
const identity = 'canary-identity';
const token = 'canary-token';
const basic: Credential = { kind: 'basic', user: 'me', password };
const bytes = Buffer.from('content');
const blob = { mediaType: 'application/octet-stream', digest: sha256(bytes), size: bytes.length };

const opened: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
});

async function start(handler: Handler): Promise<TestServer> {
  const server = await TestServer.start(handler);
  opened.push(server);
  return server;
}

/** Answers everything with 200 and the content, and remembers what came. */
const stranger = async (): Promise<TestServer> =>
  start((_, response) => {
    response.end(bytes);
    return true;
  });

function repositoryAt(
  host: string,
  credential: Credential = basic,
  options: Partial<HttpClientOptions> = {},
): RegistryRepository {
  const client = new HttpClient({ userAgent: 'test', insecureHosts: [host], stallMs: 5000, ...options });
  opened.push(client);
  return new Registry(host, 'target', client, async () => Promise.resolve(credential)).repository('team/app');
}

async function read(repository: RegistryRepository): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await repository.fetch(blob)).open(0)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** All that a server was told, with what is in base64. */
function told(...servers: TestServer[]): string {
  return servers
    .flatMap(({ requests }) => requests)
    .map(({ path, headers }) => {
      const authorization = headers.authorization ?? '';
      return `${path} ${JSON.stringify(headers)} ${Buffer.from(authorization.replace(/^\w+ /, ''), 'base64').toString()}`;
    })
    .join('\n');
}

const challenge = (response: Parameters<Handler>[1], header: string): true => {
  response.writeHead(401, { 'www-authenticate': header }).end();
  return true;
};

describe('where a registry redirects downloads', () => {
  const redirecting = async (location: () => string): Promise<TestServer> =>
    start((request, response) => {
      if (request.headers.authorization === undefined) return challenge(response, 'Basic realm="r"');
      response.writeHead(307, { location: location() }).end();
      return true;
    });

  it('no credential goes', async () => {
    const cdn = await stranger();
    const registry = await redirecting(() => `${cdn.url}/blob?signature=x`);

    expect(await read(repositoryAt(registry.host))).toBe('content');
    expect(told(registry)).toContain(password);
    expect(cdn.requests).toHaveLength(1);
    expect(told(cdn)).not.toMatch(/canary|authorization/);
  });

  it('a refusal is told of the host that refuses, which no login would change', async () => {
    const cdn = await start((_, response) => {
      response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
      return true;
    });
    const registry = await redirecting(() => `${cdn.url}/blob?signature=canary-signature`);

    const error = await failureOf(read(repositoryAt(registry.host)));

    expect(error.code).toBe('E_AUTH');
    expect(error.message).toContain(cdn.host);
    expect(`${error.hint}`).not.toContain('docker login');
    expect(JSON.stringify([error.message, error.hint, error.at])).not.toContain('canary');
  });

  it('another registry that gives tokens to anybody is asked for one, and is shown nothing', async () => {
    const other = await start((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://other');
      if (pathname === '/token') {
        response.end(JSON.stringify({ token: `for-anybody-${searchParams.get('scope')}` }));
        return true;
      }
      if (request.headers.authorization === 'Bearer for-anybody-repository:there/app:pull') {
        response.end(bytes);
        return true;
      }
      const realm = `http://${request.headers.host}/token`;
      return challenge(response, `Bearer realm="${realm}",service="there",scope="repository:there/app:pull"`);
    });
    const registry = await redirecting(() => `${other.url}/v2/there/app/blobs/x`);
    const repository = repositoryAt(registry.host);

    expect([await read(repository), await read(repository)]).toEqual(['content', 'content']);
    expect(told(other)).not.toContain('canary');
    expect(other.requests.filter(({ path }) => path.startsWith('/token'))).toHaveLength(1);
    expect(told(registry)).not.toContain('for-anybody');
  });

  it('nobody is believed who asks for credentials', async () => {
    const thief = await stranger();
    const cdn = await start((_, response) => challenge(response, `Bearer realm="${thief.url}/token"`));
    const registry = await redirecting(() => `${cdn.url}/blob`);

    expect(await codeOf(read(repositoryAt(registry.host, basic, { insecureHosts: [registry.host, thief.host] })))).toBe(
      'E_AUTH',
    );
    expect(thief.requests).toEqual([]);
    expect(told(cdn)).not.toMatch(/canary|authorization/);
  });

  it.each([
    'file:///etc/passwd',
    'ftp://127.0.0.1/x',
    'data:text/plain,content',
    'http://169.254.169.254/latest/meta-data',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://[::ffff:169.254.169.254]/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
  ])('%s is refused', async (location) => {
    const registry = await redirecting(() => location);

    expect(await codeOf(read(repositoryAt(registry.host)))).toBe('E_PROTOCOL');
    expect(registry.requests).toHaveLength(2);
  });
});

describe('where a registry puts uploads', () => {
  const uploading = async (location: () => string): Promise<TestServer> =>
    start((request, response) => {
      if (request.headers.authorization === undefined) return challenge(response, 'Basic realm="r"');
      response.writeHead(202, { location: location() }).end();
      return true;
    });

  it('no credential goes when it is another host', async () => {
    const store = await start(async (request, response) => {
      for await (const _ of request);
      response.writeHead(201).end();
      return true;
    });
    const registry = await uploading(() => `${store.url}/upload?state=x`);

    await repositoryAt(registry.host).push(blob, contentOf(bytes));

    expect(store.requests).toHaveLength(1);
    expect(told(store)).not.toMatch(/canary|authorization/);
  });

  it('a location beside the upload, or with http behind a proxy that ends TLS, is at the registry', async () => {
    for (const location of [
      'session-1?_state=a%2Bb%3D',
      'http://HOST/v2/team/app/blobs/uploads/session-1?_state=a%2Bb%3D',
    ]) {
      const registry = await TestServer.start(
        async (request, response) => {
          for await (const _ of request);
          const host = request.headers.host ?? '';
          if (request.method === 'POST') response.writeHead(202, { location: location.replace('HOST', host) }).end();
          else response.writeHead(201).end();
          return true;
        },
        { tls: serverTls() },
      );
      opened.push(registry);

      await repositoryAt(registry.host, basic, { insecureHosts: [], ca: pem('ca.pem') }).push(blob, contentOf(bytes));

      expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
        'POST /v2/team/app/blobs/uploads/',
        `PUT /v2/team/app/blobs/uploads/session-1?_state=a%2Bb%3D&digest=${encodeURIComponent(blob.digest)}`,
      ]);
    }
  });

  it.each(['http://169.254.169.254/upload', 'file:///tmp/upload'])('%s is refused', async (location) => {
    const registry = await uploading(() => location);

    expect(await codeOf(repositoryAt(registry.host).push(blob, contentOf(bytes)))).toBe('E_PROTOCOL');
  });
});

describe('the token server that a registry names', () => {
  const asking = async (realm: () => string): Promise<TestServer> =>
    start((request, response) => {
      if (request.url?.startsWith('/token')) return stealing(response);
      if (request.headers.authorization === `Bearer ${token}`) response.end(bytes);
      else return challenge(response, `Bearer realm="${realm()}",service="r"`);
      return true;
    });
  const stealing = (response: Parameters<Handler>[1]): true => {
    response.end(JSON.stringify({ token, expires_in: 5 }));
    return true;
  };
  const tokenServer = async (): Promise<TestServer> => start((_, response) => stealing(response));

  it('gets the credential when the user trusts it with plain HTTP, and the registry gets the token only', async () => {
    const auth = await tokenServer();
    const registry = await asking(() => `${auth.url}/token`);

    expect(await read(repositoryAt(registry.host, basic, { insecureHosts: [registry.host, auth.host] }))).toBe(
      'content',
    );
    expect(told(auth)).toContain(password);
    expect(told(registry)).toContain(token);
    expect(told(registry)).not.toContain(password);
  });

  it.each<[string, Credential]>([
    ['password', basic],
    ['identity token', { kind: 'identity', token: identity }],
  ])('gets no %s when it is another host and speaks plain HTTP', async (_, credential) => {
    const auth = await tokenServer();
    const registry = await asking(() => `${auth.url}/token`);

    expect(await codeOf(read(repositoryAt(registry.host, credential)))).toBe('E_PROTOCOL');
    expect(auth.requests).toEqual([]);
    expect(told(registry)).not.toContain('canary');
  });

  it('gets no credential where it redirects', async () => {
    const thief = await tokenServer();
    const auth = await start((_, response) => {
      response.writeHead(307, { location: `${thief.url}/token` }).end();
      return true;
    });
    const registry = await asking(() => `${auth.url}/token`);

    await read(repositoryAt(registry.host, basic, { insecureHosts: [registry.host, auth.host] }));

    expect(thief.requests).toHaveLength(1);
    expect(told(thief)).not.toMatch(/canary-password|authorization/);
  });

  it.each([
    'file:///token',
    'data:application/json,{}',
    'ftp://127.0.0.1/token',
    'http://169.254.169.254/token',
    'https://169.254.169.254/token',
    'https://2852039166/token',
    'https://[fd00:ec2::254]/token',
    'http://[',
    '',
  ])('is refused when it is %s', async (realm) => {
    const registry = await asking(() => realm);

    expect(await codeOf(read(repositoryAt(registry.host)))).toBe('E_PROTOCOL');
    expect(told(registry)).not.toContain('canary');
  });

  it('that answers without end is left', async () => {
    const registry = await start((request, response) => {
      if (!request.url?.startsWith('/token')) return challenge(response, 'Bearer realm="/token"');
      response.end(JSON.stringify({ token: 'x'.repeat(200_000) }));
      return true;
    });

    expect(await codeOf(read(repositoryAt(registry.host)))).toBe('E_PROTOCOL');
  });

  it('may say one life and mean another: a token that is refused is renewed', async () => {
    const tokens: string[] = [];
    const registry = await start((request, response) => {
      if (request.url?.startsWith('/token')) {
        tokens.push(`t${tokens.length}`);
        response.end(JSON.stringify({ token: tokens.at(-1), expires_in: 3600 }));
      } else if (request.headers.authorization === `Bearer ${tokens.at(-1)}`) response.end(bytes);
      else return challenge(response, 'Bearer realm="/token"');
      return true;
    });
    const repository = repositoryAt(registry.host);
    await read(repository);
    tokens.push('another');

    expect(await read(repository)).toBe('content');
    expect(registry.count(/^GET \/token/)).toBe(2);
  });
});

describe('a server that repeats in its error what it was told', () => {
  const echo = (text: string): string => JSON.stringify({ errors: [{ code: 'DENIED', message: text }] });

  it.each<[string, Credential]>([
    ['a password', basic],
    ['a password with signs that JSON and addresses write otherwise', { ...basic, password: 'can"ary/pass word' }],
  ])('does not bring %s to light', async (_, credential) => {
    const registry = await start((request, response) => {
      const { authorization } = request.headers;
      if (authorization === undefined) return challenge(response, 'Basic realm="r"');
      const [, said = ''] = /^Basic (.+)$/.exec(authorization) ?? [];
      const clear = Buffer.from(said, 'base64').toString();
      response.writeHead(403).end(echo(`${authorization} is ${clear}, ${encodeURIComponent(clear)}`));
      return true;
    });

    const error = await failureOf(read(repositoryAt(registry.host, credential)));

    expect(error.code).toBe('E_AUTH');
    expect(error.message).toContain('***');
    expect(error.message).not.toMatch(/canary|can"ary|can\\?"|can%22|pass word/);
    expect(error.message).not.toContain(Buffer.from('me:').toString('base64').slice(0, 4));
  });

  it('does not bring a token to light', async () => {
    const registry = await start((request, response) => {
      const { authorization } = request.headers;
      if (request.url?.startsWith('/token')) response.end(JSON.stringify({ token }));
      else if (authorization === undefined) return challenge(response, 'Bearer realm="/token"');
      else response.writeHead(403).end(echo(authorization));
      return true;
    });

    const error = await failureOf(read(repositoryAt(registry.host)));

    expect(error.message).toContain('***');
    expect(error.message).not.toContain(token);
  });

  it.each<[string, Credential]>([
    ['a password', basic],
    ['an identity token', { kind: 'identity', token: identity }],
  ])('nor does a token server %s', async (_, credential) => {
    const registry = await start(async (request, response) => {
      if (!request.url?.startsWith('/token')) return challenge(response, 'Bearer realm="/token"');
      const body = (await readBody(request)).toString();
      const clear = Buffer.from((request.headers.authorization ?? '').slice('Basic '.length), 'base64').toString();
      response.writeHead(400).end(`${request.headers.authorization} ${clear} ${body}`);
      return true;
    });

    const error = await failureOf(read(repositoryAt(registry.host, credential)));

    expect(error.message).toContain('***');
    expect(error.message).not.toMatch(/canary|bWU6/);
  });
});

describe('a registry that asks for credentials without saying which', () => {
  it('is asked at the root of its API', async () => {
    const registry = await start((request, response) => {
      if (request.url === '/v2/') return challenge(response, 'Basic realm="r"');
      if (request.headers.authorization === undefined) response.writeHead(401).end();
      else response.end(bytes);
      return true;
    });

    expect(await read(repositoryAt(registry.host))).toBe('content');
    expect(registry.count(/^GET \/v2\/$/)).toBe(1);
  });

  it('and does not say so there either is not authorised', async () => {
    const registry = await start((_, response) => {
      response.writeHead(401).end();
      return true;
    });

    expect(await codeOf(read(repositoryAt(registry.host)))).toBe('E_AUTH');
    expect(registry.count(/^GET \/v2\/$/)).toBe(1);
  });
});

describe('a registry by name', () => {
  type Way = 'a redirect' | 'an upload' | 'a token server';

  /** Reaches `registry.example` through a proxy; it sends us to a server of this machine in the way given. */
  async function sent(way: Way, addresses: string[]): Promise<{ target: TestServer; outcome: Promise<unknown> }> {
    const target = await start(async (request, response) => {
      for await (const _ of request);
      if (way === 'an upload') response.writeHead(201);
      response.end(way === 'a token server' ? JSON.stringify({ token }) : bytes);
      return true;
    });
    const registry = await start((request, response) => {
      if (request.headers.authorization === `Bearer ${token}`) response.end(bytes);
      else if (way === 'a token server') return challenge(response, `Bearer realm="${target.url}/token"`);
      else response.writeHead(way === 'an upload' ? 202 : 307, { location: `${target.url}/blob` }).end();
      return true;
    });
    const proxy = await startProxy();
    opened.push({ close: async () => proxy[Symbol.asyncDispose]() });
    const host = `registry.example:${registry.host.split(':')[1]}`;
    const repository = repositoryAt(host, basic, {
      insecureHosts: [host, target.host],
      proxyOf: proxyRules({ HTTP_PROXY: `http://${proxy.host}` }),
      addressesOf: async () => Promise.resolve(addresses),
    });
    return { target, outcome: way === 'an upload' ? repository.push(blob, contentOf(bytes)) : read(repository) };
  }

  describe.each<Way>(['a redirect', 'an upload', 'a token server'])('by %s', (way) => {
    it.each([
      ['on the internet', ['203.0.113.9', '2001:db8::1']],
      ['that only a proxy can resolve', []],
      ['in a private network', ['10.0.0.5']],
      ['with a link-local address', ['169.254.3.4']],
    ])('%s may not send us to this machine', async (_, addresses) => {
      const { target, outcome } = await sent(way, addresses);

      expect((await failureOf(outcome)).code).toBe('E_PROTOCOL');
      expect(target.requests).toEqual([]);
    });

    it('on this machine may', async () => {
      const { target, outcome } = await sent(way, ['127.0.0.1']);
      await outcome;

      expect(target.requests).toHaveLength(1);
    });
  });

  it.each<[string[], string, boolean]>([
    [['203.0.113.9'], 'https://10.0.0.5/blob', false],
    [['203.0.113.9'], 'https://[fd12::1]/blob', false],
    [['203.0.113.9'], 'https://198.51.100.7/blob', true],
    [['203.0.113.9'], 'https://storage.example/blob', true],
    [['203.0.113.9'], 'https://registry.example:8443/blob', true],
    [['10.0.0.5'], 'https://10.0.0.6/blob', true],
    [['10.0.0.5'], 'https://198.51.100.7/blob', true],
    [['10.0.0.5'], 'https://localhost/blob', false],
    [['203.0.113.9', '10.0.0.5'], 'https://10.0.0.6/blob', true],
  ])('at %j, sending us to %s: %s', async (addresses, to, allowed) => {
    const client = new HttpClient({ userAgent: 'test', addressesOf: async () => Promise.resolve(addresses) });
    const outcome = client.checkReach(new URL('https://registry.example'), new URL(to), {}).then(
      () => true,
      () => false,
    );

    expect(await outcome).toBe(allowed);
  });
});
