import { BlockList, isIP } from 'node:net';
import { MirrorError } from '../core/errors.ts';
import { reachOf } from './address.ts';

/** A proxy on the way to a host. */
export interface Proxy {
  /** Without credentials. */
  url: URL;
  /** For the Proxy-Authorization header; goes to the proxy only. */
  authorization: string | undefined;
}

/** Tells the proxy for an address; undefined means a direct connection. @throws E_USAGE for a variable that names none */
export type ProxyRules = (url: URL) => Proxy | undefined;

/**
 * The rules of the environment, as Go's programs have them (https://pkg.go.dev/golang.org/x/net/http/httpproxy), and
 * `ALL_PROXY` as curl does: `HTTPS_PROXY`, `HTTP_PROXY` by the scheme of the address, `NO_PROXY` with names (and what
 * lies below them), `.suffix`, addresses, CIDR, each with an optional port, and `*`; each also in lower case. What is
 * called localhost, and loopback addresses, are never asked for through a proxy.
 */
export function proxyRules(env: Record<string, string | undefined>): ProxyRules {
  const direct = exceptions(read(env, 'NO_PROXY')?.value ?? '');
  const known = new Map<string, Proxy | undefined>();
  const forScheme = (scheme: string): Proxy | undefined => {
    const found = read(env, scheme === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') ?? read(env, 'ALL_PROXY');
    return found && parseProxy(found.name, found.value);
  };
  return (url) => {
    if (reachOf(url.hostname) === 'loopback' || direct(url)) return undefined;
    if (!known.has(url.protocol)) known.set(url.protocol, forScheme(url.protocol));
    return known.get(url.protocol);
  };
}

function read(env: Record<string, string | undefined>, name: string): { name: string; value: string } | undefined {
  const used = env[name] ? name : name.toLowerCase();
  const value = env[used];
  return value ? { name: used, value } : undefined;
}

/** The value is never shown: it may hold a password. */
function parseProxy(name: string, value: string): Proxy {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '')
    throw new MirrorError('E_USAGE', `\`${name}\` names no HTTP proxy`, {
      hint: `set it to \`http://HOST:PORT\`; SOCKS proxies are not supported`,
    });
  const { username, password } = url;
  const login = [username, password].map((part) => decode(part, name)).join(':');
  const authorization = login === ':' ? undefined : `Basic ${Buffer.from(login).toString('base64')}`;
  return { url: new URL(url.origin), authorization };
}

function decode(text: string, name: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MirrorError('E_USAGE', `\`${name}\` has a user or password with a \`%\` that is not encoded`, {
      hint: 'write `%` as `%25`',
    });
  }
}

function exceptions(list: string): (url: URL) => boolean {
  const rules = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(exception);
  return (url) => {
    const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return rules.some((rule) => rule(host, port));
  };
}

type Exception = (host: string, port: string) => boolean;

function exception(entry: string): Exception {
  if (entry === '*') return () => true;
  const subnet = /^(.+)\/(\d{1,3})$/.exec(entry);
  if (subnet) return within(subnet[1] ?? '', Number(subnet[2]));
  const [, name = entry, port] = isIP(entry) === 0 ? (/^(.*?)(?::(\d+))?$/.exec(entry) ?? []) : [];
  const wanted = name.replace(/^\[|\]$/g, '').replace(/^\*(?=\.)/, '');
  return (host, hostPort) => {
    if (port !== undefined && port !== hostPort) return false;
    return wanted.startsWith('.') ? host.endsWith(wanted) : host === wanted || host.endsWith(`.${wanted}`);
  };
}

function within(address: string, bits: number): Exception {
  const family = isIP(address);
  if (family === 0 || bits > (family === 4 ? 32 : 128)) return () => false;
  const list = new BlockList();
  list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6');
  return (host) => isIP(host) === family && list.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

/** What a proxy that does not let a request pass means; names it without its password. */
export function proxyRefusal(proxy: Proxy, host: string, status: number): MirrorError {
  const said = `the proxy \`${proxy.url.host}\` answered ${status} for \`${host}\``;
  const at = { status };
  if (status === 407)
    return new MirrorError('E_AUTH', `${said}: it wants a user and a password, or other ones`, {
      hint: 'set them in HTTPS_PROXY or HTTP_PROXY: `http://USER:PASSWORD@HOST:PORT`',
      at,
    });
  if (status === 401 || status === 403)
    return new MirrorError('E_AUTH', `${said}: it does not let this through`, {
      hint: `ask for \`${host}\` to be allowed there, or name it in NO_PROXY if it can be reached without`,
      at,
    });
  return new MirrorError(status >= 500 ? 'E_NETWORK' : 'E_PROTOCOL', `${said}: no connection`, {
    hint: `check the name; if \`${host}\` can be reached without a proxy, add it to NO_PROXY`,
    at,
  });
}
