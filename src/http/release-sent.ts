import type { Socket } from 'node:net';
import { releaseChunk } from '../core/chunk-pool.ts';

type Write = (chunk: Uint8Array | string, ...rest: unknown[]) => boolean;

/** Chunks that are written to this socket are released when they have left it; only the socket knows when that is. */
export function releaseSent(socket: Socket): Socket {
  const write = socket.write.bind(socket) as Write;
  const releasing: Write = (chunk, ...rest) => {
    if (typeof chunk === 'string' || rest.length > 0) return write(chunk, ...rest);
    return write(chunk, (error: unknown) => {
      if (!error) releaseChunk(chunk);
    });
  };
  return Object.assign(socket, { write: releasing });
}
