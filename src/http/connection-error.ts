import { type ErrorPlace, isAbort, MirrorError, placeError } from '../core/errors.ts';
import type { Route } from './connections.ts';
import type { PeerCertificate } from './peer.ts';

const unreachable: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the name could not be looked up',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
};

const broken: Record<string, string> = {
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  ETIMEDOUT: 'timed out',
  UND_ERR_SOCKET: 'the connection was closed',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the answer stalled',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer ended early',
};

const hungUp = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

const untrusted = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Whether no connection came about at all: another try within the same run will hardly fare better. */
export function isUnreachable(error: MirrorError): boolean {
  return error.code === 'E_TLS' || (error.code === 'E_NETWORK' && unreachable[codeOf(error.cause)] !== undefined);
}

/**
 * An error of undici, its sockets, a tunnel or TLS in our words. What a failed handshake does not tell is asked of the
 * server once more.
 * @param url the address that was asked for
 * @param at where to say that it happened
 */
export async function connectionError(error: unknown, url: URL, route: Route, at: ErrorPlace): Promise<MirrorError> {
  if (error instanceof MirrorError) return placeError(error, at);
  if (isAbort(error)) return new MirrorError('E_ABORTED', 'interrupted', { at, cause: error });
  const code = codeOf(error);
  const tls = url.protocol === 'https:' ? await tlsError(error, code, url, route, at) : undefined;
  if (tls) return tls;
  const silent = at.status === undefined && !route.proxy && hungUp.has(code);
  if (url.protocol === 'https:' && silent) {
    // The end of a connection is seen before the alert that tells why.
    const alert = await (await peer()).lateAlert(url, route.tls);
    const refused = alert && (await tlsError(alert, codeOf(alert), url, route, at));
    if (refused) return refused;
  }
  // A server that knows no plain HTTP answers with what is none, or hangs up.
  const unanswered = silent || (at.status === undefined && !route.proxy && code.startsWith('HPE_'));
  if (url.protocol === 'http:' && unanswered && (await wantsHttps(url))) return wantsTls(url, at, error);
  const through = route.proxy ? ` through the proxy \`${route.proxy.url.host}\`` : '';
  const host = `\`${url.host}\`${through}`;
  if (code.startsWith('HPE_'))
    return new MirrorError('E_PROTOCOL', `${host} does not speak HTTP`, { at, cause: error });
  const text = unreachable[code] ?? broken[code] ?? (error instanceof Error ? error.message : String(error));
  return new MirrorError('E_NETWORK', `${host}: ${text}`, {
    hint: route.proxy
      ? 'check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and whether this machine may reach the proxy'
      : 'check the address, and whether this machine may reach it',
    at,
    cause: error,
  });
}

/** Whether a server that was asked by plain HTTP knows TLS. */
export async function wantsHttps(url: URL): Promise<boolean> {
  return (await peer()).speaksTls(url);
}

/** What looks at servers is needed only when something has gone wrong. */
async function peer(): Promise<typeof import('./peer.ts')> {
  return import('./peer.ts');
}

/** Said of a server that was asked by plain HTTP and wants HTTPS. */
export function wantsTls(url: URL, at: ErrorPlace, cause?: unknown): MirrorError {
  return new MirrorError('E_PROTOCOL', `\`${url.host}\` speaks HTTPS, and was asked by plain HTTP`, {
    hint: `leave out \`--insecure-host ${url.host}\`; if its authority is not known here, name that with \`--ca FILE\``,
    at,
    ...(cause === undefined ? {} : { cause }),
  });
}

async function tlsError(
  error: unknown,
  code: string,
  url: URL,
  route: Route,
  at: ErrorPlace,
): Promise<MirrorError | undefined> {
  const host = `\`${url.host}\``;
  const made = (message: string, hint?: string): MirrorError =>
    new MirrorError('E_TLS', message, { ...(hint === undefined ? {} : { hint }), at, cause: error });
  // A second connection would be another way than the one that failed.
  const look = async (): Promise<PeerCertificate | undefined> =>
    route.proxy ? undefined : (await peer()).peerCertificate(url);
  const certificate = await certificateFault(error, code, host, look);
  if (certificate) return made(...certificate);
  if (code !== 'EPROTO' && !code.startsWith('ERR_SSL')) return undefined;
  const said = `${code} ${error instanceof Error ? error.message : ''}`;
  if (/alert|ALERT/.test(said)) return refusedByPeer(said, host, made);
  if (/unsupported.protocol/i.test(said))
    return made(`${host} speaks a version of TLS that is too old`, 'TLS 1.2 is the oldest that is spoken here');
  return made(
    `${host} does not speak HTTPS`,
    `if it speaks plain HTTP: for a registry add \`--insecure-host ${url.host}\`, for another address write it with http://`,
  );
}

/** What is wrong with the certificate of a server, and what to do about it; undefined when that is not what failed. */
async function certificateFault(
  error: unknown,
  code: string,
  host: string,
  look: () => Promise<PeerCertificate | undefined>,
): Promise<[message: string, hint?: string] | undefined> {
  if (untrusted.has(code)) {
    const issuer = (await look())?.issuer;
    return [
      `${host} has a certificate from an authority that is not trusted here${issuer ? `: \`${issuer}\`` : ''}`,
      'name the authority with `--ca FILE` (PEM), put it into a `certs.d` directory, or set NODE_EXTRA_CA_CERTS',
    ];
  }
  if (code === 'CERT_HAS_EXPIRED') {
    const until = (await look())?.until;
    return [
      `the certificate of ${host} has expired${until ? `: it was valid until ${day(until)}` : ''}`,
      'have it renewed; if that date has not come yet, set the clock of this machine',
    ];
  }
  if (code === 'CERT_NOT_YET_VALID') {
    const from = (await look())?.from;
    return [
      `the certificate of ${host} is not valid yet${from ? `: it is from ${day(from)} on` : ''}`,
      'check the clock of this machine',
    ];
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = (error as { cert?: { subjectaltname?: string } }).cert?.subjectaltname ?? 'no name';
    return [
      `the certificate of ${host} is for another name: \`${names}\``,
      'use a name that stands in the certificate',
    ];
  }
  return code.startsWith('CERT_') ? [`the certificate of ${host} is not valid: ${code}`] : undefined;
}

/** https://www.rfc-editor.org/rfc/rfc8446#section-6.2 */
function refusedByPeer(said: string, host: string, made: (message: string, hint?: string) => MirrorError): MirrorError {
  if (/certificate.required|bad.certificate|unknown.ca|handshake.failure|certificate.unknown|access.denied/i.test(said))
    return made(
      `${host} refused the TLS handshake: it wants a client certificate, or another one`,
      `put \`client.cert\` and \`client.key\` into \`~/.config/containers/certs.d/${host.slice(1, -1)}/\``,
    );
  return made(`${host} refused the TLS handshake: ${/alert.*?(?=:|$)/i.exec(said)?.[0] ?? 'an alert'}`);
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const { code } = error as NodeJS.ErrnoException;
  // The parser does not give every one of its errors a code.
  if (error.name === 'HTTPParserError') return code ?? 'HPE_INVALID';
  if (typeof code === 'string' && code !== 'UND_ERR_SOCKET') return code;
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return codeOf(error.cause) || code || '';
}
