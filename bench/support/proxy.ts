import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { DelayLine } from './delay-line.ts';

/** A TCP proxy that makes a loopback server as far away as a real one, and counts what is asked of it. */
export interface Proxy {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** HTTP requests since the last call by method, as `GET 3, HEAD 1`. */
  takeCounts: () => string;
  close: () => Promise<void>;
}

const flyingLimit = 4 * 1024 * 1024;

/** @param roundTripMs added to each answer, and once more to a connection's first, which stands for its handshake */
export async function startProxy(target: string, roundTripMs: number): Promise<Proxy> {
  const [host = '', port = ''] = target.split(':');
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    for (const socket of [near, far]) keep(socket, sockets);
    const born = performance.now();
    near.on('data', (bytes: Buffer) => count(bytes, counts));
    relay(near, far, () => Math.max(performance.now() + roundTripMs / 2, born + 1.5 * roundTripMs));
    relay(far, near, () => performance.now() + roundTripMs / 2);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    takeCounts: () => {
      const text = [...counts].map(([method, number]) => `${method} ${number}`);
      counts.clear();
      return text.join(', ') || 'none';
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function keep(socket: Socket, sockets: Set<Socket>): void {
  sockets.add(socket);
  socket.setNoDelay(true);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => socket.destroy());
}

/** Passes bytes and the end on when they are due; pauses the sender while too much is on its way. */
function relay(from: Socket, to: Socket, due: () => number): void {
  const line = new DelayLine();
  let flying = 0;
  from.on('data', (bytes: Buffer) => {
    flying += bytes.length;
    if (flying > flyingLimit) from.pause();
    line.add(due(), () => {
      if (to.writable) to.write(bytes);
      flying -= bytes.length;
      if (flying <= flyingLimit) from.resume();
    });
  });
  from.on('end', () => line.add(due(), () => to.end()));
  from.on('close', () => line.add(due(), () => to.destroy()));
}

function count(bytes: Buffer, counts: Map<string, number>): void {
  for (const [, method = ''] of bytes
    .toString('latin1')
    .matchAll(/(?:^|\n)(GET|HEAD|PUT|POST|PATCH|DELETE) \S+ HTTP\/1\.1\r\n/g))
    counts.set(method, (counts.get(method) ?? 0) + 1);
}
