import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HttpRequest, HttpResponse } from '../../../src/http/client.ts';
import { RegistryAuth } from '../../../src/oci/access/auth.ts';
import type { Credential } from '../../../src/oci/access/credentials.ts';
import { codeOf } from '../../support/failures.ts';

const origin = 'https://r.example';
const scope = 'repository:team/app:pull';
const me: Credential = { kind: 'basic', user: 'me', password: 'secret' };

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
}

function answer(url: URL, { status = 200, headers = {}, body = '' }: Answer): HttpResponse {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return {
    status,
    headers,
    url,
    body: (async function* () {
      yield await Promise.resolve(bytes);
    })(),
    bytes: () => Promise.resolve(bytes),
    discard: () => Promise.resolve(),
  };
}

/** A registry that has answered 401 with this challenge. */
async function challenged(
  header: string,
  token: (request: HttpRequest, count: number) => Answer,
  credential: (refused?: Credential) => Credential | undefined = () => me,
): Promise<{ auth: RegistryAuth; requests: HttpRequest[] }> {
  const requests: HttpRequest[] = [];
  const auth = new RegistryAuth({
    origin,
    send: async (request) => {
      requests.push(request);
      return Promise.resolve(answer(request.url, token(request, requests.length)));
    },
    checkRealm: () => Promise.resolve(),
    credential: async (_, refused) => Promise.resolve(credential(refused)),
    ping: new URL('/v2/', origin),
    at: { side: 'source' },
  });
  await auth.learn(refusal(header), scope, 'team/app', undefined);
  return { auth, requests };
}

const refusal = (header: string): HttpResponse =>
  answer(new URL(origin), { status: 401, headers: { 'www-authenticate': header } });
const bearer = 'Bearer realm="https://auth.example/token",service="r"';
const numbered = (_: HttpRequest, count: number): Answer => ({ body: { token: `t${count}` } });

describe('a token', () => {
  it('is asked for with a parameter for each scope, and the query that the realm has', async () => {
    const { auth, requests } = await challenged('Bearer realm="https://auth.example/token?a=b",service="r"', numbered);
    await auth.header('repository:a:pull,push repository:b:pull', 'a');

    const [request] = requests;
    expect([...(request?.url.searchParams ?? [])]).toEqual([
      ['a', 'b'],
      ['service', 'r'],
      ['scope', 'repository:a:pull,push'],
      ['scope', 'repository:b:pull'],
    ]);
    expect(request?.headers).toEqual({ authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` });
  });

  it('may be called token or access_token', async () => {
    const { auth } = await challenged(bearer, () => ({ body: { access_token: 'x' } }));

    expect(await auth.header(scope, 'team/app')).toBe('Bearer x');
  });

  it('is asked for at a realm without a host of its own', async () => {
    const { auth, requests } = await challenged('Bearer realm="/token"', numbered);
    await auth.header(scope, 'team/app');

    expect(requests[0]?.url.origin).toBe(origin);
  });

  it('is asked for by Bearer where Basic is offered too', async () => {
    const { auth } = await challenged(`Negotiate, Basic realm="x", ${bearer}`, numbered);

    expect(await auth.header(scope, 'team/app')).toBe('Bearer t1');
  });

  it.each<[string, unknown]>([
    ['none', {}],
    ['an empty one', { token: '' }],
    ['one with a line break', { token: 'a\r\nx: y' }],
    ['no JSON', 'sorry'],
    ['something else', ['token']],
  ])('is missed where the answer has %s', async (_, body) => {
    const { auth } = await challenged(bearer, () => ({ body }));

    expect(await codeOf(auth.header(scope, 'team/app'))).toBe('E_PROTOCOL');
  });

  it('is asked for once by many at a time, and once for each scope', async () => {
    const { auth, requests } = await challenged(bearer, numbered);

    const headers = await Promise.all(Array.from({ length: 20 }, async () => auth.header(scope, 'team/app')));
    expect(new Set(headers)).toEqual(new Set(['Bearer t1']));
    expect(await auth.header('repository:b:pull', 'b')).toBe('Bearer t2');
    expect(requests).toHaveLength(2);
  });

  it('that many were refused with is renewed once', async () => {
    const { auth, requests } = await challenged(bearer, numbered);
    const sent = await auth.header(scope, 'team/app');

    await Promise.all(
      Array.from({ length: 20 }, async () => {
        expect(await auth.learn(refusal(bearer), scope, 'team/app', sent)).toBe(true);
        expect(await auth.header(scope, 'team/app')).toBe('Bearer t2');
      }),
    );
    expect(requests).toHaveLength(2);
  });

  it('that could not be had is asked for again', async () => {
    const { auth } = await challenged(bearer, (_, count) => (count === 1 ? { status: 503 } : { body: { token: 'x' } }));

    expect(await codeOf(auth.header(scope, 'team/app'))).toBe('E_REMOTE');
    expect(await auth.header(scope, 'team/app')).toBe('Bearer x');
  });
});

describe('the life of a token', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
  afterEach(() => void vi.useRealTimers());

  it.each<[unknown, number]>([
    [300, 240],
    ['300', 240],
    [60, 48],
    [5, 48],
    [0, 48],
    [-1, 48],
    [undefined, 48],
    [null, 48],
    ['soon', 48],
  ])('of %s seconds is used for %i', async (expires_in, seconds) => {
    const { auth } = await challenged(bearer, (_, count) => ({ body: { token: `t${count}`, expires_in } }));
    await auth.header(scope, 'team/app');

    vi.setSystemTime(Date.now() + (seconds - 1) * 1000);
    expect(await auth.header(scope, 'team/app')).toBe('Bearer t1');

    vi.setSystemTime(Date.now() + 2000);
    const later = await Promise.all([auth.header(scope, 'team/app'), auth.header(scope, 'team/app')]);
    expect(later).toEqual(['Bearer t2', 'Bearer t2']);
  });
});

describe('an identity token', () => {
  const identity: Credential = { kind: 'identity', token: 'id' };

  it('is exchanged by POST, and goes into no address', async () => {
    const { auth, requests } = await challenged(bearer, numbered, () => identity);
    await auth.header('repository:a:pull repository:b:pull', 'a');

    const form = new URLSearchParams(requests[0]?.body as string);
    expect(requests[0]?.method).toBe('POST');
    expect(requests[0]?.url.href).toBe('https://auth.example/token');
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'refresh_token',
      client_id: 'sie-mirror',
      refresh_token: 'id',
      service: 'r',
      scope: 'repository:a:pull repository:b:pull',
    });
  });

  it.each<[number, Credential, string]>([
    [404, identity, '<token>:id'],
    [405, identity, '<token>:id'],
    [404, { ...identity, basic: { kind: 'basic', user: 'me', password: 'secret' } }, 'me:secret'],
  ])('where that is answered with %i is sent by GET', async (status, credential, login) => {
    const { auth, requests } = await challenged(
      bearer,
      (request) => (request.method === 'POST' ? { status } : { body: { token: 'x' } }),
      () => credential,
    );

    expect(await auth.header(scope, 'team/app')).toBe('Bearer x');
    expect(requests[1]?.headers?.['authorization']).toBe(`Basic ${Buffer.from(login).toString('base64')}`);
  });

  it('that is refused is not sent in another way', async () => {
    const { auth, requests } = await challenged(
      bearer,
      () => ({ status: 401 }),
      () => identity,
    );

    expect(await codeOf(auth.header(scope, 'team/app'))).toBe('E_AUTH');
    expect(requests).toHaveLength(1);
  });
});

describe('a credential that is refused', () => {
  const newer: Credential = { ...me, password: 'newer' };

  it('by the token server is asked for again', async () => {
    const { auth, requests } = await challenged(
      bearer,
      (_, count) => (count === 1 ? { status: 401 } : { body: { token: 'x' } }),
      (refused) => (refused ? newer : me),
    );

    expect(await auth.header(scope, 'team/app')).toBe('Bearer x');
    expect(requests[1]?.headers?.['authorization']).toBe(`Basic ${Buffer.from('me:newer').toString('base64')}`);
  });

  it('by the token server, and is the same again, is an error', async () => {
    const { auth, requests } = await challenged(bearer, () => ({ status: 401 }));

    expect(await codeOf(auth.header(scope, 'team/app'))).toBe('E_AUTH');
    expect(requests).toHaveLength(1);
  });

  it('by a registry with Basic is asked for again, and tried only if it is another', async () => {
    let current = me;
    const { auth } = await challenged('Basic realm="r"', numbered, () => current);
    const sent = await auth.header(scope, 'team/app');

    expect(await auth.learn(refusal('Basic realm="r"'), scope, 'team/app', sent)).toBe(false);
    const again = await auth.header(scope, 'team/app');
    current = newer;
    expect(await auth.learn(refusal('Basic realm="r"'), scope, 'team/app', again)).toBe(true);
    expect(await auth.header(scope, 'team/app')).toBe(`Basic ${Buffer.from('me:newer').toString('base64')}`);
  });
});

describe('a token for the registry itself', () => {
  it('is sent as it is, and no server is asked', async () => {
    const { auth, requests } = await challenged(bearer, numbered, () => ({ kind: 'access', token: 'mine' }));
    const sent = await auth.header(scope, 'team/app');

    expect(sent).toBe('Bearer mine');
    expect(await auth.learn(refusal(bearer), scope, 'team/app', sent)).toBe(false);
    expect(requests).toEqual([]);
  });
});

it('looks for the challenge at the root of the API, once, when an answer 401 has none', async () => {
  const { auth, requests } = await challenged('', ({ url }) =>
    url.pathname === '/v2/' ? { status: 401, headers: { 'www-authenticate': bearer } } : { body: { token: 'x' } },
  );
  await auth.learn(refusal(''), scope, 'team/app', undefined);

  expect(await auth.header(scope, 'team/app')).toBe('Bearer x');
  expect(requests.map(({ url }) => url.pathname)).toEqual(['/v2/', '/token']);
});
