import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a server on which connections break. */
export interface CuttingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  cuts: () => number;
}

/** Cuts every connection on which the client has sent this many bytes. */
export async function startCuttingProxy(to: string, after: number): Promise<CuttingProxy> {
  const [hostname = '', port = ''] = to.split(':');
  const open = new Set<Socket>();
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let sent = 0;
    for (const [socket, peer] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.on('error', () => peer.destroy());
      socket.on('close', () => {
        open.delete(socket);
        peer.destroy();
      });
    }
    upstream.on('data', (bytes) => client.write(bytes));
    client.on('data', (bytes) => {
      sent += bytes.length;
      if (sent > after) {
        cuts += 1;
        client.resetAndDestroy();
        upstream.end();
      } else if (!upstream.write(bytes)) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
