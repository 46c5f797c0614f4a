import { MirrorError } from '../core/errors.ts';
import { type HttpRequest, type HttpResponse, redactUrl } from './client.ts';
import { failure } from './failure.ts';

/**
 * The bytes of a resource of known size from `offset` on. Ranges are closed and asked for without looking at
 * Accept-Ranges, which most registries do not send though they support ranges. A server that ignores the range answers
 * with everything: what is already there is skipped, and what lies behind `end` is left.
 * https://www.rfc-editor.org/rfc/rfc9110#section-14
 * @param send sends the request with the headers given
 * @throws E_SIZE_MISMATCH, E_PROTOCOL, and what `failure` makes of a status
 */
export async function* openRange(
  send: (headers: Record<string, string>) => Promise<HttpResponse>,
  offset: number,
  size: number,
  at: HttpRequest['at'],
  end = size,
): AsyncGenerator<Uint8Array> {
  if (offset >= end && offset > 0) return;
  const response = await send(offset > 0 || end < size ? { range: `bytes=${offset}-${end - 1}` } : {});
  if (response.status !== 200 && response.status !== 206) throw await failure(response, at);
  let skip = 0;
  try {
    skip = checkStart(response, offset, size, at);
  } catch (error) {
    await response.discard();
    throw error;
  }
  let missing = end - offset;
  for await (const chunk of response.body) {
    if (skip >= chunk.length) {
      skip -= chunk.length;
    } else {
      const wanted = skip > 0 ? chunk.subarray(skip) : chunk;
      skip = 0;
      missing -= wanted.length;
      yield wanted;
      // A range that is answered as asked is read to its end: then the connection can be used again.
      if (missing <= 0 && end < size && response.status === 200) return;
    }
  }
  // Too much is for the receiver to refuse; too little may come with the next try.
  if (missing > 0) throw endedEarly(response, missing, at);
}

/**
 * The bytes of a resource from one offset to another, for who reads several of its ranges at once.
 * @throws E_PROTOCOL also when the server answers with everything, E_NETWORK, and what `failure` makes of a status
 */
export async function* openPart(
  send: (headers: Record<string, string>) => Promise<HttpResponse>,
  from: number,
  to: number,
  at: HttpRequest['at'],
): AsyncGenerator<Uint8Array> {
  if (from >= to) return;
  const response = await send({ range: `bytes=${from}-${to - 1}` });
  if (response.status !== 206) {
    if (response.status !== 200) throw await failure(response, at);
    await response.discard();
    throw new MirrorError('E_PROTOCOL', `\`${response.url.host}\` does not answer with ranges`, {
      at: { ...at, url: redactUrl(response.url), status: response.status },
    });
  }
  try {
    checkStart(response, from, to, at);
  } catch (error) {
    await response.discard();
    throw error;
  }
  let missing = to - from;
  for await (const chunk of response.body) {
    missing -= chunk.length;
    yield chunk;
  }
  if (missing > 0) throw endedEarly(response, missing, at);
}

function endedEarly(response: HttpResponse, missing: number, at: HttpRequest['at']): MirrorError {
  return new MirrorError('E_NETWORK', `\`${response.url.host}\`: the answer ended ${missing} bytes early`, {
    at: { ...at, url: redactUrl(response.url), status: response.status },
  });
}

/** How many bytes of the answer to skip so that it begins at `offset`. */
function checkStart(response: HttpResponse, offset: number, size: number, at: HttpRequest['at']): number {
  const place = { ...at, status: response.status };
  if (response.status === 206) {
    const start = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1];
    if (Number(start) !== offset)
      throw new MirrorError(
        'E_PROTOCOL',
        `asked for bytes from ${offset}, the answer begins at ${start ?? 'an unknown place'}`,
        { at: place },
      );
    return 0;
  }
  const length = response.headers['content-length'];
  if (length !== undefined && response.headers['content-encoding'] === undefined && Number(length) !== size)
    throw new MirrorError(
      'E_SIZE_MISMATCH',
      `\`${at.item ?? 'answer'}\` has ${length} bytes there, ${size} were announced`,
      { at: place },
    );
  return offset;
}
