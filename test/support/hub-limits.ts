import type { ServerResponse } from 'node:http';

/** Requests that one window of the rate limiter lets through; the defaults are those of an anonymous caller. */
export interface HubLimits {
  api?: number;
  resolvers?: number;
  windowSeconds?: number;
}

type Bucket = 'api' | 'resolvers';

/** The hub's fixed-window rate limiter, which puts its state on every answer. */
export class RateLimiter {
  readonly #limits: Required<HubLimits>;
  readonly #used: Record<Bucket, number> = { api: 0, resolvers: 0 };
  #windowEnd = 0;

  constructor(limits: HubLimits = {}) {
    this.#limits = { api: 500_000, resolvers: 500_000, windowSeconds: 300, ...limits };
  }

  /** Counts a request and sets the headers; false when it is one too many. */
  admit(response: ServerResponse, pathname: string): boolean {
    const isApi = pathname.startsWith('/api/') && !pathname.startsWith('/api/resolve-cache/');
    const bucket: Bucket = isApi ? 'api' : 'resolvers';
    const now = Date.now();
    if (now >= this.#windowEnd) this.#open(now);
    this.#used[bucket] += 1;
    const { windowSeconds } = this.#limits;
    const remaining = this.#limits[bucket] - this.#used[bucket];
    const reset = Math.ceil((this.#windowEnd - now) / 1000);
    response.setHeader('ratelimit', `"${bucket}";r=${Math.max(0, remaining)};t=${reset}`);
    const policy = `"fixed window";"${bucket}";q=${this.#limits[bucket]};w=${windowSeconds}`;
    response.setHeader('ratelimit-policy', policy);
    return remaining >= 0;
  }

  #open(now: number): void {
    this.#windowEnd = now + this.#limits.windowSeconds * 1000;
    this.#used.api = 0;
    this.#used.resolvers = 0;
  }
}
