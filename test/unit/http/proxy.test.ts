import { describe, expect, it } from 'vitest';
import { proxyRules } from '../../../src/http/proxy.ts';
import { codeOfCall, failureOfCall } from '../../support/failures.ts';

const proxyFor = (env: Record<string, string>, url: string): string | undefined =>
  proxyRules(env)(new URL(url))?.url.origin;

describe('the variable', () => {
  it.each<[Record<string, string>, string, string | undefined]>([
    [{}, 'https://r.example', undefined],
    [{ HTTPS_PROXY: 'http://p:3128' }, 'https://r.example', 'http://p:3128'],
    [{ HTTPS_PROXY: 'http://p:3128' }, 'http://r.example', undefined],
    [{ HTTP_PROXY: 'http://p:3128' }, 'http://r.example', 'http://p:3128'],
    [{ HTTP_PROXY: 'http://p:3128' }, 'https://r.example', undefined],
    [{ https_proxy: 'http://p:3128' }, 'https://r.example', 'http://p:3128'],
    [{ HTTPS_PROXY: 'http://upper:1', https_proxy: 'http://lower:1' }, 'https://r.example', 'http://upper:1'],
    [{ ALL_PROXY: 'http://p:3128' }, 'https://r.example', 'http://p:3128'],
    [{ all_proxy: 'http://p:3128' }, 'http://r.example', 'http://p:3128'],
    [{ ALL_PROXY: 'http://all:1', HTTPS_PROXY: 'http://p:3128' }, 'https://r.example', 'http://p:3128'],
    [{ HTTPS_PROXY: 'p:3128' }, 'https://r.example', 'http://p:3128'],
    [{ HTTPS_PROXY: 'https://p' }, 'https://r.example', 'https://p'],
    [{ HTTPS_PROXY: '' }, 'https://r.example', undefined],
  ])('%j decides about %s', (env, url, proxy) => {
    expect(proxyFor(env, url)).toBe(proxy);
  });

  it('gives credentials to the proxy, and keeps them out of its address', () => {
    const proxy = proxyRules({ HTTPS_PROXY: 'http://me:p%40ss@p:3128' })(new URL('https://r.example'));

    expect(proxy?.url.href).toBe('http://p:3128/');
    expect(proxy?.authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  });

  it.each(['socks5://p:1080', 'http://', 'ftp://p', 'http://me:secret%zz@p'])(
    'that is %s is refused without being shown',
    (value) => {
      const error = failureOfCall(() => proxyFor({ ALL_PROXY: value }, 'https://r.example'));

      expect(error.code).toBe('E_USAGE');
      expect(error.message).toContain('ALL_PROXY');
      expect(`${error.message} ${error.hint}`).not.toContain('secret');
    },
  );

  it('is not read before it is needed', () => {
    const rules = proxyRules({ ALL_PROXY: 'socks5://p:1080', NO_PROXY: 'near.example' });

    expect(rules(new URL('https://near.example'))).toBeUndefined();
    expect(codeOfCall(() => rules(new URL('https://far.example')))).toBe('E_USAGE');
  });
});

describe('NO_PROXY', () => {
  it.each<[string, string, boolean]>([
    ['*', 'https://r.example', true],
    ['r.example', 'https://r.example', true],
    ['r.example', 'https://R.Example.', true],
    ['r.example', 'https://a.r.example', true],
    ['r.example', 'https://other.example', false],
    ['r.example', 'https://notr.example', false],
    ['.r.example', 'https://a.r.example', true],
    ['.r.example', 'https://r.example', false],
    ['*.r.example', 'https://a.r.example', true],
    ['*.r.example', 'https://r.example', false],
    ['R.EXAMPLE', 'https://r.example', true],
    ['r.example:443', 'https://r.example', true],
    ['r.example:443', 'https://r.example:5000', false],
    ['r.example:5000', 'https://r.example:5000', true],
    ['r.example:80', 'http://r.example', true],
    ['a.example, b.example', 'https://b.example', true],
    ['a.example b.example', 'https://b.example', true],
    ['10.0.0.0/8', 'https://10.1.2.3:5000', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.0.0.0/8', 'https://ten.example', false],
    ['10.1.2.3', 'https://10.1.2.3:5000', true],
    ['10.1.2.3:5000', 'https://10.1.2.3', false],
    ['fd00::/8', 'https://[fd12::1]', true],
    ['fd12::1', 'https://[fd12::1]:5000', true],
    ['[fd12::1]:5000', 'https://[fd12::1]:5000', true],
    ['[fd12::1]:5000', 'https://[fd12::1]', false],
    ['10.0.0.0/99,r.example', 'https://r.example', true],
  ])('%s, for %s: direct is %s', (list, url, direct) => {
    const env = { HTTPS_PROXY: 'http://p:3128', HTTP_PROXY: 'http://p:3128' };

    expect(proxyFor({ ...env, NO_PROXY: list }, url) === undefined).toBe(direct);
    expect(proxyFor({ ...env, no_proxy: list }, url) === undefined).toBe(direct);
  });

  it.each(['http://localhost:5000', 'http://a.localhost', 'https://127.0.0.1', 'https://[::1]:5000'])(
    'need not name %s',
    (url) => {
      expect(proxyFor({ ALL_PROXY: 'http://p:3128' }, url)).toBeUndefined();
    },
  );
});
