import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import type { TlsSettings } from './tls.ts';

/** What a server shows of itself; nothing of it has been verified. */
export interface PeerCertificate {
  issuer: string | undefined;
  from: Date;
  until: Date;
}

const answerMs = 5000;
/** A refusal comes with the server's next packet. */
const alertMs = 1000;

/** The certificate because of which a handshake failed: the first of the chain that is out of date, else the server's own. */
export async function peerCertificate(url: URL): Promise<PeerCertificate | undefined> {
  return look(url, (socket) => {
    const now = Date.now();
    const chain = chainOf(socket.getPeerCertificate(true));
    const [own] = chain;
    const stale = chain.find(({ from, until }) => from.getTime() > now || until.getTime() < now);
    return stale ?? own;
  });
}

/** Whether a server that was asked by plain HTTP knows TLS. */
export async function speaksTls(url: URL): Promise<boolean> {
  return (await look(url, () => true)) ?? false;
}

/**
 * The alert with which a server ends the connection although the handshake was done: TLS 1.3 refuses client certificates so.
 * @param tls what is shown to the server
 */
export async function lateAlert(url: URL, tls: TlsSettings | undefined): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const socket = open(url, tls);
    const end = (error?: Error): void => {
      socket.destroy();
      resolve(error);
    };
    socket.on('secureConnect', () => socket.setTimeout(alertMs));
    socket.on('error', end);
    socket.on('close', () => end());
    socket.on('timeout', () => end());
    // An alert is seen only by who reads.
    socket.resume();
  });
}

function open(url: URL, tls?: TlsSettings): TLSSocket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const named = /[a-z]/i.test(host) && !host.includes(':');
  return connect({
    host,
    port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
    ...(named ? { servername: host } : {}),
    ...(tls ? { secureContext: tls.context } : {}),
    rejectUnauthorized: false,
    timeout: answerMs,
  });
}

/** Nothing is sent over this connection, so it may be to anybody. */
async function look<T>(url: URL, found: (socket: TLSSocket) => T): Promise<T | undefined> {
  return new Promise((resolve) => {
    const socket = open(url);
    const end = (result: T | undefined): void => {
      socket.destroy();
      resolve(result);
    };
    socket.on('secureConnect', () => end(found(socket)));
    socket.on('error', () => end(undefined));
    socket.on('close', () => end(undefined));
    socket.on('timeout', () => end(undefined));
  });
}

function chainOf(first: DetailedPeerCertificate): PeerCertificate[] {
  const chain: PeerCertificate[] = [];
  const seen = new Set<DetailedPeerCertificate>();
  for (let each = first; each?.valid_to !== undefined && !seen.has(each); each = each.issuerCertificate) {
    seen.add(each);
    const { CN, O } = each.issuer;
    chain.push({ issuer: [CN ?? O].flat()[0], from: new Date(each.valid_from), until: new Date(each.valid_to) });
  }
  return chain;
}
