import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { expect, it } from 'vitest';
import { chunkBytes, takeChunk } from '../../../src/core/chunk-pool.ts';
import { releaseSent } from '../../../src/http/release-sent.ts';

it('releases a chunk when it has left the socket, and not before', async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const socket = releaseSent(connect((server.address() as AddressInfo).port, '127.0.0.1'));
  const [peer] = (await accepted) as [ReturnType<typeof connect>];
  try {
    // More than the kernel holds for a reader that does not read, and no more than are kept to be used again.
    const chunks = Array.from({ length: 16 }, takeChunk);
    for (const chunk of chunks) socket.write(chunk);
    await once(socket, 'connect');
    const waiting = chunks.slice(-4).map(({ buffer }) => buffer);
    const taken = chunks.map(() => takeChunk().buffer);

    expect(socket.writableLength).toBeGreaterThan(waiting.length * chunkBytes);
    expect(taken.filter((buffer) => waiting.includes(buffer))).toEqual([]);

    peer.resume();
    await once(socket, 'drain');

    expect(waiting).toContain(takeChunk().buffer);
  } finally {
    socket.destroy();
    peer.destroy();
    server.close();
  }
});

it('releases nothing that a broken connection did not take', async () => {
  const socket = releaseSent(new Socket());
  socket.on('error', () => {});
  const chunk = takeChunk();

  socket.destroy();
  socket.write(chunk);
  await new Promise(setImmediate);

  expect(takeChunk().buffer).not.toBe(chunk.buffer);
});
