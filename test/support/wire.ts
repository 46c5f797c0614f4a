import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { serverTls } from './tls.ts';

/** What a client has asked for, as it stood on the wire. */
export interface WireRequest {
  /** `GET /path HTTP/1.1`. */
  line: string;
  head: string;
  /** Which connection it came on, from 1. */
  connection: number;
}

/** A server that knows no HTTP: what it answers with is written byte by byte in the test. */
export interface WireServer extends AsyncDisposable {
  url: string;
  requests: WireRequest[];
  /** How many connections were made. */
  connections(): number;
}

export type WireScript = (socket: Socket, request: WireRequest, count: number) => Promise<void> | void;

/** @param script answers a request without a body; `count` is how many have come, from 1 */
export async function startWire(script: WireScript, options: { tls?: boolean } = {}): Promise<WireServer> {
  const requests: WireRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const serve = (socket: Socket): void => {
    connections += 1;
    const connection = connections;
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      // As servers of plain HTTP do with the first message of TLS.
      if (!/^[A-Z]/.test(text)) {
        socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
        return;
      }
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      const request = { line: head.split('\r\n')[0] ?? '', head, connection };
      requests.push(request);
      void script(socket, request, requests.length);
    });
  };
  const server: Server = options.tls ? createTlsServer(serverTls(), serve) : createServer(serve);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
