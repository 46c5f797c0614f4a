import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress, createUnzip } from 'node:zlib';
import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { type HttpResponse, redactUrl } from '../../http/client.ts';

/**
 * The bytes that a file has, of an answer that came compressed though nobody asked for that: a cache in between may give to
 * one client what another one had asked for. An answer of the file's own length is the file, whatever its head says: some
 * servers call a `.gz` so.
 * @throws E_PROTOCOL for a piece of a compressed file, which cannot be read
 */
export function decoded(response: HttpResponse, size: number, at: ErrorPlace): HttpResponse {
  const { headers, status, url } = response;
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity' || encoding === '' || status >= 300 || Number(headers['content-length']) === size)
    return response;
  const decoder = decoders[encoding];
  if (status !== 206 && decoder) return { ...response, body: through(decoder(), response.body, at) };
  throw new MirrorError('E_PROTOCOL', `\`${url.host}\` gives \`${at.item ?? ''}\` in the coding \`${encoding}\``, {
    hint: 'check HF_ENDPOINT, and whether a proxy changes what it passes on',
    at: { ...at, url: redactUrl(url), status },
  });
}

type Decoder = ReturnType<typeof createUnzip> | ReturnType<typeof createBrotliDecompress>;

const decoders: Partial<Record<string, () => Decoder>> = {
  gzip: createUnzip,
  'x-gzip': createUnzip,
  deflate: createUnzip,
  br: createBrotliDecompress,
};

async function* through(decoder: Decoder, body: HttpResponse['body'], at: ErrorPlace): AsyncGenerator<Uint8Array> {
  const passing = pipeline(Readable.from(body), decoder);
  // Whoever reads the other end is told of what goes wrong.
  passing.catch(() => {});
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code?.startsWith('Z_') !== true) throw error;
    throw new MirrorError('E_NETWORK', `the compressed bytes of \`${at.item ?? ''}\` end early or are wrong`, {
      at,
      cause: error,
    });
  }
}
