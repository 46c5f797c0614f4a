import { MirrorError } from '../core/errors.ts';
import { type HttpRequest, type HttpResponse, redactUrl } from './client.ts';

/**
 * Sends a request with a large body. Its answer may take long (`answerMs`) once the body is through; that the other side
 * takes nothing of the body for `stallMs` is a failure of its own.
 * @param send may call what it is given several times, each time for a sending of its own
 * @param body the bytes of one sending
 * @throws E_NETWORK, and what `send` throws
 */
export async function sendWatched(
  send: (make: () => HttpRequest) => Promise<HttpResponse>,
  request: HttpRequest,
  body: () => AsyncIterable<Uint8Array>,
  stallMs: number,
): Promise<HttpResponse> {
  const watch = new BodyWatch(stallMs);
  const signal = request.signal ? AbortSignal.any([request.signal, watch.signal]) : watch.signal;
  try {
    return await send(() => ({ ...request, signal, body: watch.over(body()) }));
  } catch (error) {
    if (!watch.signal.aborted || request.signal?.aborted) throw error;
    const { host } = request.url;
    throw new MirrorError('E_NETWORK', `\`${host}\` has taken no bytes for ${Math.ceil(stallMs / 1000)} s`, {
      hint: 'run the same command again',
      at: { ...request.at, url: redactUrl(request.url) },
      cause: error,
    });
  } finally {
    watch.stop();
  }
}

/** Notices that bytes which were offered are not taken. A source that brings none is not its affair. */
class BodyWatch {
  readonly #stalled = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #offered = Infinity;

  constructor(stallMs: number) {
    this.#timer = setInterval(
      () => {
        if (Date.now() - this.#offered >= stallMs) this.#stalled.abort();
      },
      Math.ceil(stallMs / 10),
    );
  }

  get signal(): AbortSignal {
    return this.#stalled.signal;
  }

  async *over(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of bytes) {
        this.#offered = Date.now();
        yield chunk;
        this.#offered = Infinity;
      }
    } finally {
      this.#offered = Infinity;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
