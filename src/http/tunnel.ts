import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { MirrorError } from '../core/errors.ts';
import { type Proxy, proxyRefusal } from './proxy.ts';
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
