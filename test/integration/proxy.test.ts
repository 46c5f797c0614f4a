import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import { proxyRules } from '../../src/http/proxy.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { startProxy, type TestProxy } from '../support/proxy.ts';
import { TestServer } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

/** No name here resolves: what arrives has gone through the proxy. */
const name = 'registry.example';
const login = 'me:canary-proxy-password';

let secure: TestServer;
let plain: TestServer;
const opened: HttpClient[] = [];

beforeEach(async () => {
  const answer = (request: { headers: { host?: string | undefined } }, response: { end(text: string): void }): true => {
    response.end(`hello ${request.headers.host}`);
    return true;
  };
  secure = await TestServer.start(answer, { tls: serverTls('other-name') });
  plain = await TestServer.start(answer);
});

afterEach(async () => {
  for (const client of opened.splice(0)) await client.close();
  await secure.close();
  await plain.close();
});

const portOf = (server: TestServer): string => server.host.split(':')[1] ?? '';
const away = (server: TestServer, scheme: 'http' | 'https', host = name): string =>
  `${scheme}://${host}:${portOf(server)}/a?b=c`;

function through(proxy: TestProxy, env: Record<string, string> = {}, user = ''): HttpClient {
  const at = `http://${user}${proxy.host}`;
  const client = new HttpClient({
    userAgent: 'test',
    ca: pem('ca.pem'),
    stallMs: 5000,
    proxyOf: proxyRules({ HTTPS_PROXY: at, HTTP_PROXY: at, ...env }),
  });
  opened.push(client);
  return client;
}

async function get(client: HttpClient, url: string): Promise<string> {
  const headers = { authorization: 'Bearer canary-token' };
  const response = await client.send({ method: 'GET', url: new URL(url), headers, at: { side: 'source' } });
  return (await response.bytes()).toString();
}

describe('a proxy', () => {
  it('carries HTTPS in a tunnel, sees nothing of it, and serves several requests with one', async () => {
    await using proxy = await startProxy();
    const client = through(proxy);

    for (let time = 0; time < 6; time += 1)
      expect(await get(client, away(secure, 'https'))).toBe(`hello ${name}:${portOf(secure)}`);

    expect(secure.count(/^GET \/a\?b=c$/)).toBe(6);
    // A second one may be opened while the first is not yet free.
    expect(proxy.requests.length).toBeLessThanOrEqual(2);
    expect(new Set(proxy.requests)).toEqual(new Set([`CONNECT ${name}:${portOf(secure)}`]));
    expect(JSON.stringify(proxy.headers)).not.toContain('canary');
  });

  it('is asked for plain HTTP with the whole address', async () => {
    await using proxy = await startProxy();

    expect(await get(through(proxy), away(plain, 'http'))).toBe(`hello ${name}:${portOf(plain)}`);

    expect(proxy.requests).toEqual([`GET ${away(plain, 'http')}`]);
    expect(plain.requests[0]?.path).toBe('/a?b=c');
  });

  it.each(['http', 'https'] as const)('gets its credentials, which the %s server does not', async (scheme) => {
    await using proxy = await startProxy({ login });
    const server = scheme === 'http' ? plain : secure;

    await get(through(proxy, {}, `${login}@`), away(server, scheme));

    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]?.headers).not.toHaveProperty('proxy-authorization');
  });

  it.each(['http', 'https'] as const)(
    'that wants a password for %s is named, without the wrong one',
    async (scheme) => {
      await using proxy = await startProxy({ login });
      const client = through(proxy, {}, 'me:canary-wrong@');
      const error = await failureOf(get(client, away(scheme === 'http' ? plain : secure, scheme)));

      expect(error.code).toBe('E_AUTH');
      expect(error.message).toContain(proxy.host);
      expect(error.at.side).toBe('source');
      expect(`${error.message} ${error.hint} ${error.stack} ${String(error.cause)}`).not.toContain('canary');
    },
  );

  it.each([
    [403, 'E_AUTH'],
    [502, 'E_NETWORK'],
    [418, 'E_PROTOCOL'],
  ])('that answers %i is told from the server', async (refuse, code) => {
    await using proxy = await startProxy({ refuse });
    const error = await failureOf(get(through(proxy), away(secure, 'https')));

    expect(error.code).toBe(code);
    expect(error.message).toContain(proxy.host);
    expect(error.message).toContain(name);
  });

  it('that is not there is named beside the server', async () => {
    const nowhere = { HTTPS_PROXY: 'http://127.0.0.1:9' };
    await using proxy = await startProxy();
    const error = await failureOf(get(through(proxy, nowhere), away(secure, 'https')));

    expect(error.code).toBe('E_NETWORK');
    expect(error.message).toContain('127.0.0.1:9');
    expect(error.message).toContain(name);
  });

  it('is passed by for what NO_PROXY names', async () => {
    await using proxy = await startProxy();

    expect(await codeOf(get(through(proxy, { NO_PROXY: name }), away(secure, 'https')))).toBe('E_NETWORK');
    expect(proxy.requests).toEqual([]);
  });

  it('is passed by for this machine', async () => {
    await using proxy = await startProxy();

    expect(await get(through(proxy), away(plain, 'http', '127.0.0.1'))).toContain('hello');
    expect(proxy.requests).toEqual([]);
  });

  it('does not make a certificate valid', async () => {
    await using proxy = await startProxy();

    expect(await codeOf(get(through(proxy), away(secure, 'https', 'other.example')))).toBe('E_TLS');
  });
});
