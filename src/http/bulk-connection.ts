import type { OnReadOpts, Socket } from 'node:net';
import { BulkBody } from './bulk-body.ts';
import { parsePlainHead, type PlainHead } from './plain-head.ts';

/** Opens a connection to the origin of an address; what it receives goes to `onread` and nowhere else. */
export type Dial = (url: URL, onread: OnReadOpts) => Promise<Socket>;

export interface BulkAnswer extends PlainHead {
  body: AsyncIterable<Uint8Array>;
  /** Lets the connection go. */
  discard: () => Promise<void>;
}

/** As large as Node.js and undici let a head be. */
const headLimit = 16 * 1024;

/** An unwanted body is read to its end if it is this short; else a new connection is cheaper. */
const discardLimit = 128 * 1024;

/** Many servers close what is idle for five seconds. */
const idleMs = 4000;

type State =
  | { kind: 'opening'; fail: (error: unknown) => void }
  | { kind: 'idle' | 'closed' }
  | { kind: 'head'; answer: (answer: BulkAnswer | undefined) => void; fail: (error: unknown) => void }
  | { kind: 'body'; body: BulkBody; keepAlive: boolean }
  | { kind: 'rest'; missing: number; keepAlive: boolean; done: () => void };

/** Who keeps a connection for its next request. */
export interface ConnectionOwner {
  onIdle: () => void;
  onClose: () => void;
}

/**
 * One HTTP/1.1 connection that takes one request after the other and receives the answers straight into large buffers.
 * It fails with the codes of Node.js and undici, so that one table translates all.
 */
export class BulkConnection {
  readonly #stallMs: number;
  readonly #owner: ConnectionOwner;
  readonly #head = Buffer.allocUnsafeSlow(headLimit);
  #headBytes = 0;
  #state: State = { kind: 'closed' };
  #socket: Socket | undefined;
  #paused = false;
  #error: unknown;
  #forgetSignal = (): void => {};

  /** @param stallMs a body that gives no byte for so long is given up */
  constructor(stallMs: number, owner: ConnectionOwner) {
    this.#stallMs = stallMs;
    this.#owner = owner;
  }

  /** Whether anything has come of the answer to the last request. */
  get hasAnswered(): boolean {
    return this.#headBytes > 0;
  }

  /** @throws what `dial` throws, and the reason of the signal */
  async open(dial: Dial, url: URL, signal: AbortSignal | undefined): Promise<void> {
    this.#obey(signal);
    try {
      await new Promise<void>((opened, fail) => {
        this.#state = { kind: 'opening', fail };
        const onread = { buffer: () => this.#room(), callback: (bytes: number) => this.#received(bytes) };
        dial(url, onread).then((socket) => {
          this.#attach(socket);
          opened();
        }, fail);
      });
      this.#forgetSignal();
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /**
   * Sends a request and waits for the head of its answer. Undefined when that is not of the plain kind: the connection
   * is closed then, and the request has to be sent in another way.
   * @param text the request as it stands on the wire
   * @param answerMs how long the head of the answer may take
   * @param signal ends the connection if the answer has not come to its end
   */
  async ask(text: string, answerMs: number, signal: AbortSignal | undefined): Promise<BulkAnswer | undefined> {
    const socket = this.#socket;
    this.#obey(signal);
    if (this.#state.kind !== 'idle' || !socket) throw this.#error;
    socket.setTimeout(0);
    const late = setTimeout(() => this.destroy(broken('UND_ERR_HEADERS_TIMEOUT', 'no answer in time')), answerMs);
    try {
      return await new Promise<BulkAnswer | undefined>((answer, fail) => {
        this.#headBytes = 0;
        this.#state = { kind: 'head', answer, fail };
        socket.write(text, 'latin1');
      });
    } finally {
      clearTimeout(late);
    }
  }

  /** Ends the connection, and with `error` whatever waits for it. */
  destroy(error: unknown): void {
    const state = this.#state;
    this.#error ??= error;
    this.#close();
    if (state.kind === 'opening' || state.kind === 'head') state.fail(this.#error);
    if (state.kind === 'body') state.body.fail(this.#error);
    if (state.kind === 'rest') state.done();
  }

  #close(): void {
    if (this.#state.kind === 'closed') return;
    this.#state = { kind: 'closed' };
    this.#forgetSignal();
    this.#socket?.destroy();
    this.#owner.onClose();
  }

  #obey(signal: AbortSignal | undefined): void {
    const abort = (): void => this.destroy(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    this.#forgetSignal = () => signal?.removeEventListener('abort', abort);
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('error', (error) => (this.#error ??= error));
    socket.on('close', () => this.destroy(broken('UND_ERR_SOCKET', 'the connection was closed')));
    socket.on('timeout', () => this.#stalled());
    // It may have been given up while it was being made.
    if (this.#state.kind === 'opening') this.#state = { kind: 'idle' };
    else socket.destroy();
  }

  #room(): Buffer {
    if (this.#state.kind === 'body') return this.#state.body.room;
    return this.#state.kind === 'head' ? this.#head.subarray(this.#headBytes) : this.#head;
  }

  /** @returns whether more may come at once */
  #received(bytes: number): boolean {
    const state = this.#state;
    if (state.kind === 'head') this.#readHead(bytes, state.answer);
    else if (state.kind === 'body') this.#fill(state.body, bytes, state.keepAlive);
    else if (state.kind === 'rest') this.#skip(state, bytes);
    else this.destroy(broken('UND_ERR_SOCKET', 'the server sent what nobody had asked for'));
    this.#paused = this.#state.kind === 'body' && this.#state.body.isFull;
    return !this.#paused;
  }

  #readHead(bytes: number, answer: (answer: BulkAnswer | undefined) => void): void {
    this.#headBytes += bytes;
    const end = this.#head.subarray(0, this.#headBytes).indexOf('\r\n\r\n');
    if (end < 0 && this.#headBytes < headLimit) return;
    const head = end < 0 ? undefined : parsePlainHead(this.#head.toString('latin1', 0, end));
    if (!head) {
      answer(undefined);
      this.#close();
      return;
    }
    const body = new BulkBody(head.length, { resume: () => this.#resume(), cancel: () => this.#close() });
    this.#state = { kind: 'body', body, keepAlive: head.keepAlive };
    this.#socket?.setTimeout(this.#stallMs);
    answer({ ...head, body: body.read(), discard: () => this.#discard(body) });
    const start = this.#head.subarray(end + 4, this.#headBytes);
    start.copy(body.room);
    this.#fill(body, start.length, head.keepAlive);
  }

  #fill(body: BulkBody, bytes: number, keepAlive: boolean): void {
    const extra = Math.max(0, bytes - body.missing);
    body.received(bytes - extra);
    if (body.missing === 0) this.#finish(keepAlive && extra === 0);
  }

  #skip(state: State & { kind: 'rest' }, bytes: number): void {
    state.missing -= bytes;
    if (state.missing > 0) return;
    this.#finish(state.keepAlive && state.missing === 0);
    state.done();
  }

  /** The answer has come to its end. */
  #finish(keepAlive: boolean): void {
    if (!keepAlive) {
      this.#close();
      return;
    }
    this.#forgetSignal();
    this.#state = { kind: 'idle' };
    this.#socket?.setTimeout(idleMs);
    this.#owner.onIdle();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // The time that the reader took is not the server's.
    this.#socket?.setTimeout(this.#stallMs);
    this.#socket?.resume();
  }

  async #discard(body: BulkBody): Promise<void> {
    if (this.#state.kind !== 'body' || this.#state.body !== body) return;
    const { keepAlive } = this.#state;
    if (!keepAlive || body.missing > discardLimit) {
      this.#close();
      return;
    }
    await new Promise<void>((done) => {
      this.#state = { kind: 'rest', missing: body.missing, keepAlive, done };
      this.#resume();
    });
  }

  #stalled(): void {
    if (!this.#paused) this.destroy(broken('UND_ERR_BODY_TIMEOUT', 'the answer stalled'));
  }
}

function broken(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
