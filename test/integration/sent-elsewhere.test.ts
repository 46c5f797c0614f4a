import { describe, expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { HttpClient } from '../../src/http/client.ts';
import { proxyRules } from '../../src/http/proxy.ts';
import {
  basic,
  blob,
  bytes,
  challenge,
  opened,
  password,
  read,
  repositoryAt,
  start,
  stranger,
  token,
  told,
} from '../support/access-servers.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { startProxy } from '../support/proxy.ts';
import { TestServer } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

/** Where a registry may send us, and what goes there. */

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

  it('with another port and http, behind a proxy that ends TLS, is told with what the proxy lacks', async () => {
    const registry = await TestServer.start(
      (_, response) => {
        response.writeHead(202, { location: 'http://127.0.0.1:5000/v2/team/app/blobs/uploads/1?_state=canary' }).end();
        return true;
      },
      { tls: serverTls() },
    );
    opened.push(registry);
    const repository = repositoryAt(registry.host, basic, { insecureHosts: [], ca: pem('ca.pem') });

    const error = await failureOf(repository.push(blob, contentOf(bytes)));

    expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'target']);
    expect(error.message).toContain('http://127.0.0.1:5000');
    expect(error.hint).toContain('X-Forwarded-Proto');
    expect(`${error.message} ${error.hint}`).not.toContain('canary');
  });

  it.each(['http://169.254.169.254/upload', 'file:///tmp/upload'])('%s is refused', async (location) => {
    const registry = await uploading(() => location);

    expect(await codeOf(repositoryAt(registry.host).push(blob, contentOf(bytes)))).toBe('E_PROTOCOL');
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
