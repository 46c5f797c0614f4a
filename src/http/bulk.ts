import { type BulkAnswer, BulkConnection, type Dial } from './bulk-connection.ts';
import { formatPlainGet } from './plain-head.ts';

/** From this size on a body is worth a connection of its own kind. */
export const bulkBytes = 1024 * 1024;

/** More would wait for the next request to their origin in vain. */
const maxIdle = 8;

export interface BulkGet {
  url: URL;
  headers: Record<string, string>;
  signal: AbortSignal | undefined;
  /** How long the head of the answer may take. */
  answerMs: number;
}

/**
 * Fetches large bodies for little more than half the processor time of undici: they are received into large buffers
 * that are used again and again, with no stream between socket and reader. It knows the plainest answers only, and says
 * so when it meets another.
 */
export class BulkClient {
  readonly #dial: Dial;
  readonly #stallMs: number;
  readonly #connections = new Set<BulkConnection>();
  readonly #idle = new Map<string, BulkConnection[]>();
  /** Origins that have given other than plain answers. */
  readonly #unfit = new Set<string>();

  constructor(dial: Dial, stallMs: number) {
    this.#dial = dial;
    this.#stallMs = stallMs;
  }

  /**
   * One answer; undefined when the request has to be sent in another way. Fails as Node.js and undici do, with errors
   * that are not translated.
   */
  async get({ url, headers, answerMs, signal }: BulkGet): Promise<BulkAnswer | undefined> {
    const text = formatPlainGet(url, headers);
    if (text === undefined || this.#unfit.has(url.origin)) return undefined;
    signal?.throwIfAborted();
    const answer = await this.#ask(url, (connection) => connection.ask(text, answerMs, signal), signal);
    if (!answer) this.#unfit.add(url.origin);
    return answer;
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy(destroyed());
  }

  async #ask<T>(
    url: URL,
    ask: (connection: BulkConnection) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const known = this.#idle.get(url.origin)?.pop();
    if (known) {
      try {
        return await ask(known);
      } catch (error) {
        // A server may close an idle connection at any moment; then it has not looked at the request.
        if (known.hasAnswered || !isClosed(error)) throw error;
      }
    }
    return ask(await this.#open(url, signal));
  }

  async #open(url: URL, signal: AbortSignal | undefined): Promise<BulkConnection> {
    const idle = this.#idle.get(url.origin) ?? [];
    this.#idle.set(url.origin, idle);
    const connection: BulkConnection = new BulkConnection(this.#stallMs, {
      onIdle: () => {
        if (idle.length < maxIdle) idle.push(connection);
        else connection.destroy(destroyed());
      },
      onClose: () => {
        this.#connections.delete(connection);
        if (idle.includes(connection)) idle.splice(idle.indexOf(connection), 1);
      },
    });
    this.#connections.add(connection);
    await connection.open(this.#dial, url, signal);
    return connection;
  }
}

function destroyed(): Error {
  return Object.assign(new Error('the client was closed'), { code: 'UND_ERR_DESTROYED' });
}

function isClosed(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}
