import { createServer, type IncomingMessage, request as send, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface TestProxy extends AsyncDisposable {
  host: string;
  /** `CONNECT host:port`, or a method with the absolute address. */
  readonly requests: string[];
  /** Every header that came, to look for what should not be there. */
  readonly headers: IncomingMessage['headers'][];
}

/**
 * A proxy on a loopback port. Whatever name is asked for, it connects to this machine: tests need no names that resolve.
 * @param options.login `USER:PASSWORD` that it wants
 * @param options.refuse status for everything
 */
export async function startProxy(options: { login?: string; refuse?: number } = {}): Promise<TestProxy> {
  const requests: string[] = [];
  const headers: IncomingMessage['headers'][] = [];
  const sockets = new Set<Socket>();
  const wanted = options.login === undefined ? undefined : `Basic ${Buffer.from(options.login).toString('base64')}`;
  const refusal = (request: IncomingMessage): number | undefined => {
    requests.push(`${request.method} ${request.url}`);
    headers.push(request.headers);
    if (options.refuse !== undefined) return options.refuse;
    return wanted === undefined || request.headers['proxy-authorization'] === wanted ? undefined : 407;
  };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const status = refusal(request);
    if (status !== undefined) {
      response.writeHead(status).end();
      return;
    }
    const url = new URL(request.url ?? '');
    const { 'proxy-authorization': _, ...passed } = request.headers;
    const onward = send(
      { host: '127.0.0.1', port: url.port, method: request.method, path: url.pathname + url.search, headers: passed },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    const status = refusal(request);
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const onward = connect(Number(/\d+$/.exec(request.url ?? '')?.[0]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    for (const each of [socket, onward]) {
      sockets.add(each);
      each.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    headers,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
