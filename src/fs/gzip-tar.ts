import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { MirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import { parseTarHeader, tarBlockBytes } from './tar-header.ts';

/**
 * The regular files with these names in a compressed tar, as content that unpacks the archive again each time it is
 * opened: nothing of it is kept. Names of plain ustar headers only, which is what a release archive of a program has.
 * @param isWanted whether the file of a path is asked for
 * @throws E_CORRUPT when it is no such archive
 */
export async function findInGzipTar(
  path: string,
  isWanted: (member: string) => boolean,
): Promise<{ path: string; content: Content }[]> {
  const found: { path: string; content: Content }[] = [];
  let header = Buffer.alloc(0);
  let next = 0;
  let position = 0;
  for await (const chunk of unpacked(path)) {
    for (let at = 0; at < chunk.length;) {
      if (position + at < next) {
        at += Math.min(next - position - at, chunk.length - at);
        continue;
      }
      const piece = chunk.subarray(at, at + tarBlockBytes - header.length);
      header = Buffer.concat([header, piece]);
      at += piece.length;
      if (header.length < tarBlockBytes) continue;
      if (header.every((byte) => byte === 0)) return found;
      const member = parseTarHeader(header);
      if (typeof member === 'string') throw damaged(path, member);
      const start = position + at;
      if (member.type === '0' && isWanted(member.path))
        found.push({ path: member.path, content: slice(path, start, member.size) });
      next = start + Math.ceil(member.size / tarBlockBytes) * tarBlockBytes;
      header = Buffer.alloc(0);
    }
    position += chunk.length;
  }
  return found;
}

function slice(path: string, start: number, size: number): Content {
  return {
    size,
    async *open(offset, signal) {
      let position = 0;
      const [from, to] = [start + offset, start + size];
      for await (const chunk of unpacked(path)) {
        signal?.throwIfAborted();
        const piece = chunk.subarray(Math.max(from - position, 0), Math.max(to - position, 0));
        position += chunk.length;
        if (piece.length > 0) yield piece;
        if (position >= to) return;
      }
      throw damaged(path, 'it is cut off');
    },
  };
}

async function* unpacked(path: string): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { highWaterMark: 1024 * 1024 });
  const gunzip = createGunzip({ chunkSize: 1024 * 1024 });
  file.on('error', (error) => gunzip.destroy(error));
  try {
    for await (const chunk of file.pipe(gunzip)) yield chunk as Buffer;
  } catch (error) {
    if (String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw damaged(path, (error as Error).message);
    throw error;
  } finally {
    file.destroy();
    gunzip.destroy();
  }
}

function damaged(path: string, what: string): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${path}\` is no whole \`.tar.gz\`: ${what}`, {
    hint: 'fetch it again',
    at: { side: 'source', item: path },
  });
}
