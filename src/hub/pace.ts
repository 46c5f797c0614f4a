import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError } from '../core/errors.ts';

/** What the hub allows within its present window of time. */
interface Window {
  remaining: number;
  /** Of a whole window, when the hub says it. */
  quota: number | undefined;
  /** Milliseconds, by the clock; one second is added to what the hub says, as its clock is not ours. */
  endsAt: number;
  /** When the next request may leave. */
  nextAt: number;
  told: boolean;
}

export interface PaceOptions {
  /** Longer than this is not waited for. */
  maxWaitMs: number;
  /** Told once a window when everybody has to wait for its end. */
  onWait?: ((ms: number) => void) | undefined;
  clock?: { now(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
}

const systemClock = {
  now: () => Date.now(),
  sleep: (ms: number, signal?: AbortSignal) => sleep(ms, undefined, signal ? { signal } : {}),
};

/**
 * Keeps requests within the hub's rate limit by what it says on each answer, so that it never has to refuse one: the last
 * tenth of a window's requests is spread over the time that is left, and when there is none, everybody waits.
 * https://huggingface.co/docs/hub/rate-limits
 */
export class Pace {
  readonly #windows = new Map<string, Window>();
  readonly #options: PaceOptions;
  readonly #clock: NonNullable<PaceOptions['clock']>;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Resolves when one more request may be sent.
   * @throws E_RATE_LIMIT when that would take too long, E_ABORTED
   */
  async turn(bucket: string, signal?: AbortSignal): Promise<void> {
    for (;;) {
      const window = this.#windows.get(bucket);
      const now = this.#clock.now();
      if (!window || now >= window.endsAt) {
        this.#windows.delete(bucket);
        return;
      }
      if (window.remaining > 0) {
        const at = Math.max(now, window.nextAt);
        window.nextAt = at + (isScarce(window, at) ? (window.endsAt - at) / window.remaining : 0);
        window.remaining -= 1;
        if (at > now) await this.#clock.sleep(at - now, signal);
        return;
      }
      await this.#waitForEnd(window, signal);
    }
  }

  /** Takes note of what an answer says. @param refusedMs how long a refused request has to wait */
  read(bucket: string, headers: Readonly<Record<string, string | undefined>>, refusedMs?: number): void {
    const said = /(?:"?([\w-]+)"?)?\s*;\s*r=(\d+)\s*;\s*t=(\d+)/.exec(headers['ratelimit'] ?? '');
    if (!said && refusedMs === undefined) return;
    const remaining = refusedMs === undefined ? Number(said?.[2]) : 0;
    const endsAt = this.#clock.now() + (refusedMs ?? (Number(said?.[3]) + 1) * 1000);
    const quota = /;\s*q=(\d+)/.exec(headers['ratelimit-policy'] ?? '')?.[1];
    const known = this.#windows.get(bucket);
    // Answers come out of order: within one window the lowest number is the newest.
    const isSame = known && Math.abs(known.endsAt - endsAt) < 2000;
    const window: Window = {
      remaining: isSame ? Math.min(known.remaining, remaining) : remaining,
      quota: quota === undefined ? undefined : Number(quota),
      endsAt,
      nextAt: isSame ? known.nextAt : 0,
      // Nobody is told again before the wait that was told of is over.
      told: known !== undefined && this.#clock.now() < known.endsAt && known.told,
    };
    this.#windows.set(bucket, window);
    // Who was refused waits by itself, and comes here again when the window is over.
    if (refusedMs !== undefined) this.#tell(window, refusedMs);
  }

  #tell(window: Window, pause: number): void {
    if (!window.told) this.#options.onWait?.(pause);
    window.told = true;
  }

  async #waitForEnd(window: Window, signal?: AbortSignal): Promise<void> {
    const pause = window.endsAt - this.#clock.now();
    if (pause > this.#options.maxWaitMs)
      throw new MirrorError('E_RATE_LIMIT', `the hub allows no more requests for ${Math.ceil(pause / 1000)} s`, {
        hint: 'run the same command again then; with a token of an account more is allowed',
        at: { side: 'source' },
        retryAfterMs: pause,
      });
    this.#tell(window, pause);
    await this.#clock.sleep(pause, signal);
  }
}

function isScarce({ remaining, quota, endsAt }: Window, now: number): boolean {
  return remaining < (quota === undefined ? (endsAt - now) / 1000 : quota / 10);
}
