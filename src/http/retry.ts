import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort, MirrorError, toMirrorError } from '../core/errors.ts';
import type { Content } from '../core/ports.ts';

export interface RetryOptions {
  /** How often one piece of work is tried in all. */
  attempts: number;
  /** First pause in milliseconds; it doubles up to `maxPauseMs`. A longer Retry-After is obeyed up to `maxWaitMs`. */
  pauseMs: number;
  maxPauseMs: number;
  maxWaitMs: number;
  /** Ends a pause for those who have no signal of their own. */
  signal?: AbortSignal;
  /** Told before each pause. */
  onRetry?: (error: MirrorError, pauseMs: number) => void;
}

export const defaultRetry: RetryOptions = { attempts: 5, pauseMs: 300, maxPauseMs: 10_000, maxWaitMs: 330_000 };

/** Tries again what failed in a way that may pass; the last error comes out as it was. */
export async function retrying<T>(work: () => Promise<T>, options: RetryOptions, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      await pauseOrThrow(toMirrorError(error), attempt, options, signal);
    }
  }
}

/** A connection has to bring this much before its failure no longer counts as one more in a row. */
const progressBytes = 64 * 1024;

/** The same content; when its stream breaks it goes on from the byte that it had reached. */
export function resuming(content: Content, options: RetryOptions): Content {
  return {
    size: content.size,
    async *open(offset, signal) {
      let position = offset;
      let failures = 0;
      for (;;) {
        const start = position;
        try {
          for await (const chunk of content.open(position, signal)) {
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

async function pauseOrThrow(
  error: MirrorError,
  attempt: number,
  options: RetryOptions,
  signal = options.signal,
): Promise<void> {
  if (!error.retryable || attempt >= options.attempts || signal?.aborted) throw error;
  const backoff = Math.min(options.pauseMs * 2 ** (attempt - 1), options.maxPauseMs) * (0.8 + Math.random() * 0.4);
  const pause = Math.max(backoff, error.retryAfterMs ?? 0);
  if (pause > options.maxWaitMs) throw error;
  options.onRetry?.(error, pause);
  try {
    await sleep(pause, undefined, signal ? { signal } : {});
  } catch (stopped) {
    throw isAbort(stopped) ? new MirrorError('E_ABORTED', 'interrupted', { cause: stopped }) : stopped;
  }
}
