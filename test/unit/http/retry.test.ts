import { describe, expect, it } from 'vitest';
import { type ErrorCode, MirrorError } from '../../../src/core/errors.ts';
import { oncePerPause, type RetryOptions, resuming, retrying, SharedPause } from '../../../src/http/retry.ts';
import { collect, watchedContent } from '../../support/contents.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

/** Retry without pauses; what would have been waited for is kept. */
function patience(options: Partial<RetryOptions> = {}): RetryOptions & { pauses: number[] } {
  const pauses: number[] = [];
  return {
    attempts: 4,
    pauseMs: 0,
    maxPauseMs: 0,
    maxWaitMs: 1000,
    ...options,
    onRetry: (error, pauseMs) => {
      pauses.push(pauseMs);
      options.onRetry?.(error, pauseMs);
    },
    pauses,
  };
}

/** Work that fails with the errors given, one after the other, and then succeeds. */
function failing(...errors: readonly unknown[]): { work: () => Promise<string>; calls: () => number } {
  let calls = 0;
  const work = async (): Promise<string> => {
    await Promise.resolve();
    calls += 1;
    if (calls <= errors.length) throw errors[calls - 1];
    return 'done';
  };
  return { work, calls: () => calls };
}

const error = (code: ErrorCode, retryAfterMs?: number): MirrorError =>
  new MirrorError(code, 'x', retryAfterMs === undefined ? {} : { retryAfterMs });

describe('retrying', () => {
  it.each<ErrorCode>(['E_NETWORK', 'E_REMOTE', 'E_RATE_LIMIT'])('tries again after %s', async (code) => {
    const { work, calls } = failing(error(code), error(code));

    expect(await retrying(work, patience())).toBe('done');
    expect(calls()).toBe(3);
  });

  it.each<ErrorCode>(['E_AUTH', 'E_NOT_FOUND', 'E_DIGEST_MISMATCH', 'E_REFUSED', 'E_TLS', 'E_PROTOCOL', 'E_ABORTED'])(
    'gives up at once after %s',
    async (code) => {
      const { work, calls } = failing(error(code));

      expect(await codeOf(retrying(work, patience()))).toBe(code);
      expect(calls()).toBe(1);
    },
  );

  it('gives up at once on what nobody translated', async () => {
    const { work, calls } = failing(new TypeError('x'));

    expect(await codeOf(retrying(work, patience()))).toBe('E_INTERNAL');
    expect(calls()).toBe(1);
  });

  it('throws the last error as it was', async () => {
    const last = error('E_REMOTE');
    const { work, calls } = failing(error('E_NETWORK'), error('E_NETWORK'), error('E_NETWORK'), last);

    expect(await failureOf(retrying(work, patience()))).toBe(last);
    expect(calls()).toBe(4);
  });

  it('doubles its pauses up to the longest', async () => {
    const options = patience({ attempts: 6, pauseMs: 0.01, maxPauseMs: 0.05 });
    const { work } = failing(...Array.from({ length: 5 }, () => error('E_NETWORK')));

    await retrying(work, options);

    const middles = [0.01, 0.02, 0.04, 0.05, 0.05];
    expect(options.pauses).toHaveLength(5);
    for (const [index, middle] of middles.entries()) {
      expect(options.pauses[index]).toBeGreaterThanOrEqual(middle * 0.79);
      expect(options.pauses[index]).toBeLessThanOrEqual(middle * 1.21);
    }
  });

  it('waits as long as it was asked to', async () => {
    const options = patience();
    const { work } = failing(error('E_RATE_LIMIT', 3), error('E_REMOTE', 1));

    expect(await retrying(work, options)).toBe('done');
    expect(options.pauses).toEqual([3, 1]);
  });

  it('does not wait longer than it may', async () => {
    const options = patience({ maxWaitMs: 100 });
    const { work, calls } = failing(error('E_RATE_LIMIT', 101));

    expect(await codeOf(retrying(work, options))).toBe('E_RATE_LIMIT');
    expect(calls()).toBe(1);
    expect(options.pauses).toEqual([]);
  });

  it('stops waiting when it is interrupted', async () => {
    const controller = new AbortController();
    const options = patience({ maxWaitMs: 600_000, onRetry: () => controller.abort() });
    const { work, calls } = failing(error('E_RATE_LIMIT', 500_000));

    expect(await codeOf(retrying(work, options, controller.signal))).toBe('E_ABORTED');
    expect(calls()).toBe(1);
  });

  it('stops waiting when all is interrupted', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const options = patience({ maxWaitMs: 600_000, signal, onRetry: () => controller.abort() });

    expect(await codeOf(retrying(failing(error('E_RATE_LIMIT', 500_000)).work, options))).toBe('E_ABORTED');
  });

  it('does not try again after an interruption', async () => {
    const { work, calls } = failing(error('E_NETWORK'));

    expect(await codeOf(retrying(work, patience(), AbortSignal.abort()))).toBe('E_NETWORK');
    expect(calls()).toBe(1);
  });
});

describe('resuming', () => {
  const kibi = 1024;
  const bytes = seededBytes('resuming', 640 * kibi);

  it('goes on from the byte that it had reached', async () => {
    const content = watchedContent(bytes, {
      chunk: 64 * kibi,
      broken: (position, opening) => (position === opening * 128 * kibi ? error('E_NETWORK') : undefined),
    });

    const received = await collect(resuming(content, patience()).open(0));

    expect(received.equals(bytes)).toBe(true);
    expect(content.opened).toEqual([0, 128, 256, 384, 512].map((each) => each * kibi));
  });

  it('begins where it is asked to', async () => {
    const content = watchedContent(bytes, {
      broken: (position, opening) => (opening === 1 && position >= 300 * kibi ? error('E_NETWORK') : undefined),
    });

    const received = await collect(resuming(content, patience()).open(200 * kibi));

    expect(received.equals(bytes.subarray(200 * kibi))).toBe(true);
    expect(content.opened).toEqual([200 * kibi, 328 * kibi]);
  });

  it('goes on for as long as there is progress', async () => {
    const content = watchedContent(bytes, {
      chunk: 64 * kibi,
      broken: (position, opening) => (position === opening * 64 * kibi ? error('E_NETWORK') : undefined),
    });

    expect(await collect(resuming(content, patience({ attempts: 2 })).open(0))).toHaveLength(bytes.length);
    expect(content.opened).toHaveLength(10);
  });

  it('gives up after some attempts without progress', async () => {
    const content = watchedContent(bytes, {
      broken: (position) => (position === 128 * kibi ? error('E_NETWORK') : undefined),
    });

    expect(await codeOf(collect(resuming(content, patience({ attempts: 3 })).open(0)))).toBe('E_NETWORK');
    expect(content.opened).toEqual([0, 128 * kibi, 128 * kibi]);
  });

  it('does not take a few bytes for progress', async () => {
    const content = watchedContent(bytes, {
      chunk: kibi,
      broken: (position, opening) => (position === opening * kibi ? error('E_NETWORK') : undefined),
    });

    expect(await codeOf(collect(resuming(content, patience({ attempts: 3 })).open(0)))).toBe('E_NETWORK');
    expect(content.opened).toEqual([0, kibi, 2 * kibi]);
  });

  it('gives up at once on what cannot pass', async () => {
    const content = watchedContent(bytes, { broken: () => error('E_NOT_FOUND') });

    expect(await codeOf(collect(resuming(content, patience()).open(0)))).toBe('E_NOT_FOUND');
    expect(content.opened).toEqual([0]);
  });
});

describe('a pause that a host asked for', () => {
  const told = error('E_RATE_LIMIT', 40);

  it('is kept by other work on the host too', async () => {
    const pause = new SharedPause();
    const order: string[] = [];
    const first = failing(told);
    const slow = async (): Promise<void> => {
      await first.work();
      order.push('told');
    };
    const waiting = retrying(slow, patience({ pause, onRetry: () => order.push('pause') }));
    while (order.length === 0) await Promise.resolve();

    await retrying(async () => Promise.resolve(expect(pause.leftMs).toBe(0)), patience({ pause }));
    await waiting;

    expect(order).toEqual(['pause', 'told']);
  });

  it('is kept by streams too', async () => {
    const pause = new SharedPause();
    pause.hold(20);
    const content = watchedContent(seededBytes('paused', 10), {
      broken: () => (pause.leftMs > 0 ? error('E_PROTOCOL') : undefined),
    });

    expect(await collect(resuming(content, patience({ pause })).open(0))).toHaveLength(10);
  });

  it('is not begun by work that gives up', async () => {
    const pause = new SharedPause();

    await codeOf(retrying(failing(told, told).work, patience({ pause, attempts: 1 })));
    await codeOf(retrying(failing(error('E_RATE_LIMIT', 5000)).work, patience({ pause })));

    expect(pause.leftMs).toBe(0);
  });

  it('is not kept longer than one may wait', async () => {
    const pause = new SharedPause();
    pause.hold(600_000);
    const { signal } = new AbortController();

    expect(await retrying(failing().work, patience({ pause, maxWaitMs: 0, signal }))).toBe('done');
  });

  it('ends with the run', async () => {
    const pause = new SharedPause();
    pause.hold(600_000);
    const { work, calls } = failing();

    expect(await codeOf(retrying(work, patience({ pause, maxWaitMs: 700_000 }), AbortSignal.abort()))).toBe(
      'E_ABORTED',
    );
    expect(calls()).toBe(0);
  });
});

describe('a host that is away', () => {
  const refused = new MirrorError('E_NETWORK', 'x', {
    hint: 'check the address',
    cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
  });
  const away = (count: number): MirrorError[] => Array.from({ length: count }, () => refused);
  const answeredPause = async (...said: readonly MirrorError[]): Promise<SharedPause> => {
    const pause = new SharedPause();
    await codeOf(retrying(failing(...said).work, patience({ pause, attempts: 1 }))).catch(() => {});
    return pause;
  };

  it.each<[string, MirrorError[], MirrorError]>([
    ['it gave what was wanted before', [], refused],
    ['it said before that something is not there', [error('E_NOT_FOUND')], refused],
    ['what stands before it says so', [], new MirrorError('E_REMOTE', 'x', { at: { status: 503 } })],
  ])('is waited for for longer where %s', async (_, said, failure) => {
    const pause = await answeredPause(...said);
    const { work, calls } = failing(...Array.from({ length: 6 }, () => failure));

    expect(await retrying(work, patience({ pause, attempts: 4 }))).toBe('done');
    expect(calls()).toBe(7);
  });

  it.each<[string, MirrorError, number]>([
    ['no connection', refused, 1],
    ['an answer of what stands before it', new MirrorError('E_REMOTE', 'x', { at: { status: 503 } }), 4],
  ])(
    'is not waited for by everybody, when one has done so in vain, until it answers: %s',
    async (_, failure, later) => {
      const pause = await answeredPause();
      const tries = async (): Promise<number> => {
        const { work, calls } = failing(...Array.from({ length: 9 }, () => failure));
        await codeOf(retrying(work, patience({ pause })));
        return calls();
      };

      expect([await tries(), await tries(), await tries()]).toEqual([7, later, later]);
      await retrying(failing().work, patience({ pause }));
      expect(await tries()).toBe(7);
    },
  );

  it('is told to be gone in the end, and not to be misspelt', async () => {
    const known = await failureOf(retrying(failing(...away(9)).work, patience({ pause: await answeredPause() })));
    const unknown = await failureOf(retrying(failing(...away(9)).work, patience({ pause: new SharedPause() })));

    expect([known.code, unknown.code]).toEqual(['E_NETWORK', 'E_NETWORK']);
    expect([known.hint === unknown.hint, unknown.hint]).toEqual([false, 'check the address']);
  });

  it.each<[string, MirrorError, () => Promise<SharedPause>, number]>([
    ['it was never reached', refused, async () => Promise.resolve(new SharedPause()), 4],
    ['nothing is to be tried again', refused, answeredPause, 1],
    [
      'it is there, and answers with an error of its own',
      new MirrorError('E_REMOTE', 'x', { at: { status: 500 } }),
      answeredPause,
      4,
    ],
  ])('is not waited for for longer where %s', async (_, failure, pause, attempts) => {
    const { work, calls } = failing(...Array.from({ length: 9 }, () => failure));

    expect(await codeOf(retrying(work, patience({ pause: await pause(), attempts })))).toBe(failure.code);
    expect(calls()).toBe(attempts);
  });
});

describe('progress', () => {
  it('makes a failure the first in a row again', async () => {
    const { work, calls } = failing(...Array.from({ length: 9 }, () => error('E_NETWORK')));
    let asked = 0;

    await retrying(work, patience({ attempts: 3 }), undefined, () => (asked += 1) % 2 === 0);

    expect(calls()).toBe(10);
  });
});

describe('oncePerPause', () => {
  const at = (host: string): MirrorError => new MirrorError('E_NETWORK', 'x', { at: { url: `https://${host}/v2/` } });

  it('tells of one pause of a host, and of each of another', () => {
    const said: string[] = [];
    const say = oncePerPause((failed) => said.push(new URL(failed.at.url ?? '').host));

    for (const host of ['a', 'a', 'b', 'a', 'b']) say(at(host), 60_000);

    expect(said).toEqual(['a', 'b']);
  });

  it('tells of the next pause when the last one is over', () => {
    let said = 0;
    const say = oncePerPause(() => (said += 1));

    for (let pause = 0; pause < 3; pause += 1) say(at('a'), 0);

    expect(said).toBe(3);
  });

  it('tells of everything that has no address', () => {
    let said = 0;
    const say = oncePerPause(() => (said += 1));

    say(error('E_NETWORK'), 60_000);
    say(error('E_NETWORK'), 60_000);

    expect(said).toBe(2);
  });
});
