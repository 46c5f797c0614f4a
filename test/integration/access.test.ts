import { describe, expect, it } from 'vitest';
import type { Credential } from '../../src/oci/access/credentials.ts';
import {
  basic,
  bytes,
  challenge,
  identity,
  password,
  read,
  repositoryAt,
  start,
  token,
  told,
} from '../support/access-servers.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { type Handler, readBody, TestServer } from '../support/server.ts';

/** Where credentials go. */

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
