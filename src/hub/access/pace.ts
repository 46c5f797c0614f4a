import { setTimeout as sleep } from 'node:timers/promises';
import { MirrorError } from '../../core/errors.ts';

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

const newWindow: Window = { remaining: 0, quota: undefined, endsAt: 0, nextAt: 0, told: false };

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
  /** How many requests are under way that left while nothing was known of the present window. */
  readonly #sentUntold = new Map<string, number>();
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
      const window = this.#present(bucket);
      if (!window) {
        this.#sentUntold.set(bucket, (this.#sentUntold.get(bucket) ?? 0) + 1);
        return;
      }
      const now = this.#clock.now();
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
    const known = this.#present(bucket);
    if (refusedMs !== undefined) {
      const refused = { ...(known ?? newWindow), remaining: 0, endsAt: this.#clock.now() + refusedMs };
      this.#windows.set(bucket, refused);
      // Who was refused waits by itself, and comes here again when the window is over.
      this.#tell(refused, refusedMs);
      return;
    }
    const said = /(?:"?([\w-]+)"?)?\s*;\s*r=(\d+)\s*;\s*t=(\d+)/.exec(headers['ratelimit'] ?? '');
    // Answers come late and out of order: until the window is over for sure, the lowest number is the newest.
    if (known) known.remaining = Math.min(known.remaining, said ? Number(said[2]) : Infinity);
    else {
      const underWay = Math.max(0, (this.#sentUntold.get(bucket) ?? 0) - 1);
      this.#sentUntold.set(bucket, said ? 0 : underWay);
      // What is under way may not be counted in what this answer says.
      if (said) this.#open(bucket, Number(said[2]) - underWay, Number(said[3]), headers['ratelimit-policy']);
    }
  }

  /** The window that is not over yet. */
  #present(bucket: string): Window | undefined {
    const window = this.#windows.get(bucket);
    return window && this.#clock.now() < window.endsAt ? window : undefined;
  }

  #open(bucket: string, remaining: number, seconds: number, policy = ''): void {
    const quota = /;\s*q=(\d+)/.exec(policy)?.[1];
    this.#windows.set(bucket, {
      ...newWindow,
      remaining: Math.max(0, remaining),
      quota: quota === undefined ? undefined : Number(quota),
      endsAt: this.#clock.now() + (seconds + 1) * 1000,
    });
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
