import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { MirrorError } from '../core/errors.ts';
import type { Proxy } from './proxy.ts';
import type { TlsSettings } from './tls.ts';

/**
 * A connection to `host` through a proxy: https://www.rfc-editor.org/rfc/rfc9110#name-connect
 * @param host name or address with port
 * @param tls for a proxy that is spoken to by HTTPS
 * @throws E_AUTH, E_NETWORK, E_PROTOCOL for what the proxy answered, and what the connection to it failed with
 */
export async function openTunnel(
  proxy: Proxy,
  host: string,
  timeoutMs: number,
  tls: TlsSettings | undefined,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const secure = proxy.url.protocol === 'https:';
    const request = (secure ? httpsRequest : httpRequest)({
      method: 'CONNECT',
      host: proxy.url.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.url.port || (secure ? 443 : 80),
      path: host,
      headers: {
        host,
        ...(proxy.authorization === undefined ? {} : { 'proxy-authorization': proxy.authorization }),
      },
      agent: false,
      timeout: timeoutMs,
      ...(secure && tls ? { secureContext: tls.context } : {}),
    });
    request.on('connect', (response, socket: Socket) => {
      if (response.statusCode === 200) {
        socket.setTimeout(0);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(proxyRefusal(proxy, host, response.statusCode ?? 0));
    });
    // Only a proxy that knows no CONNECT answers as to another request.
    request.on('response', (response) => {
      response.destroy();
      reject(proxyRefusal(proxy, host, response.statusCode ?? 0));
    });
    request.on('timeout', () => {
      request.destroy(Object.assign(new Error('the proxy gave no answer in time'), { code: 'ETIMEDOUT' }));
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      reject(secure && /CERT|TLS|SSL|EPROTO/.test(error.code ?? '') ? handshakeFailure(proxy, error) : error);
    });
    request.end();
  });
}

function handshakeFailure(proxy: Proxy, error: NodeJS.ErrnoException): MirrorError {
  return new MirrorError('E_TLS', `no HTTPS with the proxy \`${proxy.url.host}\`: ${error.code ?? error.message}`, {
    hint: 'name its authority with `--ca FILE`; if it speaks plain HTTP, write it with http://',
    cause: error,
  });
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
