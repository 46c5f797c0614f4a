import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort, MirrorError, toMirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';
import { isUnreachable } from './connection-error.ts';

export interface RetryOptions {
  /** How often one piece of work is tried in all. */
  attempts: number;
  /** First pause in milliseconds; it doubles up to `maxPauseMs`. A longer Retry-After is obeyed up to `maxWaitMs`. */
  pauseMs: number;
  maxPauseMs: number;
  maxWaitMs: number;
  /** Ends a pause for those who have no signal of their own. */
  signal?: AbortSignal;
  /** What all work on one host shares: when one is told to wait, the others wait too. */
  pause?: SharedPause;
  /** Told before each pause. */
  onRetry?: (error: MirrorError, pauseMs: number) => void;
}

export const defaultRetry: RetryOptions = { attempts: 5, pauseMs: 300, maxPauseMs: 10_000, maxWaitMs: 330_000 };

/** A time until which nothing is sent to a host, and whether it has answered before. */
export class SharedPause {
  /** Once it has, it is no misspelt name: who cannot reach it any more waits for longer, as it may only be restarted. */
  answered = false;
  /** Somebody has waited for it in vain: until it answers, others need not wait for as long once more. */
  gone = false;
  #until = 0;
  #signal: AbortSignal | undefined;

  /**
   * Nobody goes on before this many milliseconds have passed; a longer pause that runs already stays.
   * @param signal ends the pause for those who have none of their own
   */
  hold(ms: number, signal?: AbortSignal): void {
    this.#signal = signal;
    this.#until = Math.max(this.#until, Date.now() + ms);
  }

  /** How many milliseconds of it are left. */
  get leftMs(): number {
    return Math.max(0, this.#until - Date.now());
  }

  /** Until it is over, or `maxWaitMs` are. @throws E_ABORTED */
  async over(signal = this.#signal, maxWaitMs = defaultRetry.maxWaitMs): Promise<void> {
    const end = Date.now() + maxWaitMs;
    for (let left = this.leftMs; left > 0 && Date.now() < end; left = this.leftMs)
      // Not all at the same moment: that is what the host complained of.
      await rest(left * (1 + Math.random() * 0.1), signal);
  }
}

/**
 * Tells of the first pause of each host, and of none that begins while one that was told of runs: many requests fail in
 * the same way at once.
 */
export function oncePerPause(say: (error: MirrorError, pauseMs: number) => void): typeof say {
  const ends = new Map<string, number>();
  return (error, pauseMs) => {
    if (error.at.url !== undefined) {
      const { host } = new URL(error.at.url);
      if ((ends.get(host) ?? 0) > Date.now()) return;
      ends.set(host, Date.now() + pauseMs);
    }
    say(error, pauseMs);
  };
}

/**
 * Tries again what failed in a way that may pass; the last error comes out as it was.
 * @param progressed asked after a failure: whether it came further than any before it, and so is the first in a row again
 */
export async function retrying<T>(
  work: () => Promise<T>,
  options: RetryOptions,
  signal?: AbortSignal,
  progressed: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ;) {
    await waitForHost(options, signal);
    try {
      const result = await work();
      noteAnswer(options);
      return result;
    } catch (error) {
      noteAnswer(options, toMirrorError(error));
      failures = progressed() ? 1 : failures + 1;
      await pauseOrThrow(toMirrorError(error), failures, options, signal);
    }
  }
}

/** A connection has to bring this much before its failure no longer counts as one more in a row. */
export const progressBytes = 64 * 1024;

/** The same content; when its stream breaks it goes on from the byte that it had reached. */
export function resuming(content: Content, options: RetryOptions): Content {
  return {
    size: content.size,
    async *open(offset, signal, end) {
      let position = offset;
      let failures = 0;
      for (;;) {
        const start = position;
        await waitForHost(options, signal);
        try {
          for await (const chunk of content.open(position, signal, end)) {
            position += chunk.length;
            yield chunk;
          }
          return;
        } catch (error) {
          failures = position - start >= progressBytes ? 1 : failures + 1;
          await pauseOrThrow(toMirrorError(error), failures, options, signal);
        }
      }
    },
  };
}

/** @param error what came of it, if not what was wanted: most are answers, too */
function noteAnswer({ pause }: RetryOptions, error?: MirrorError): void {
  if (!pause || (error && (isAway(error) || error.code === 'E_NETWORK'))) return;
  pause.answered = true;
  pause.gone = false;
}

/** Whether a host is not there: what stands before it says so by these statuses. */
function isAway(error: MirrorError): boolean {
  return isUnreachable(error) || error.at.status === 502 || error.at.status === 503;
}

/** Waits while the host wants to be left alone, at most `maxWaitMs`. */
async function waitForHost({ pause, maxWaitMs, ...options }: RetryOptions, signal = options.signal): Promise<void> {
  await pause?.over(signal, maxWaitMs);
}

async function pauseOrThrow(
  error: MirrorError,
  failures: number,
  options: RetryOptions,
  signal = options.signal,
): Promise<void> {
  if (!error.retryable || signal?.aborted) throw error;
  if (failures >= attemptsFor(error, options)) {
    if (options.pause && isAway(error)) options.pause.gone = true;
    throw options.pause?.answered && isUnreachable(error) ? gone(error) : error;
  }
  const backoff = Math.min(options.pauseMs * 2 ** (failures - 1), options.maxPauseMs) * (0.8 + Math.random() * 0.4);
  const pause = Math.max(backoff, error.retryAfterMs ?? 0);
  if (pause > options.maxWaitMs) throw error;
  if (error.retryAfterMs !== undefined) options.pause?.hold(error.retryAfterMs, options.signal);
  options.onRetry?.(error, pause);
  await rest(pause, signal);
}

function attemptsFor(error: MirrorError, { attempts, pause }: RetryOptions): number {
  if (!pause || !isAway(error)) return attempts;
  // Without a connection nothing else will come of the host; with one, other requests may well be answered.
  if (pause.gone) return isUnreachable(error) ? 1 : attempts;
  // Each pause is twice the one before it, so this is more than twice the time.
  return pause.answered ? attempts * 2 - 1 : attempts;
}

/** Its address was right. */
function gone({ code, message, at, cause, retryAfterMs }: MirrorError): MirrorError {
  return new MirrorError(code, `${message}, though it answered before`, {
    hint: 'run the same command again when it is back: what has arrived stays; `--retries` lets it wait for longer',
    at,
    cause,
    retryAfterMs,
  });
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch (stopped) {
    throw isAbort(stopped) ? new MirrorError('E_ABORTED', 'interrupted', { cause: stopped }) : stopped;
  }
}
