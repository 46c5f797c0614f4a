import { describe, expect, it } from 'vitest';
import { Pace } from '../../../src/hub/access/pace.ts';
import { codeOf } from '../../support/failures.ts';

/** A clock that goes on only while somebody sleeps. */
function startPace(maxWaitMs = 330_000): { pace: Pace; now: () => number; waits: number[] } {
  let time = 1_000_000;
  const waits: number[] = [];
  const clock = {
    now: () => time,
    sleep: async (ms: number) => {
      await Promise.resolve();
      time += ms;
    },
  };
  return { pace: new Pace({ maxWaitMs, clock, onWait: (ms) => waits.push(ms) }), now: () => time - 1_000_000, waits };
}

const said = (remaining: number, seconds: number, quota = 100): Record<string, string> => ({
  ratelimit: `"api";r=${remaining};t=${seconds}`,
  'ratelimit-policy': `"fixed window";"api";q=${quota};w=300`,
});

describe('the pace of requests', () => {
  it('is free before the hub has said anything, and while it allows plenty', async () => {
    const { pace, now } = startPace();
    for (let index = 0; index < 10; index += 1) await pace.turn('api');
    pace.read('api', said(90, 200));
    for (let index = 0; index < 40; index += 1) await pace.turn('api');
    expect(now()).toBe(0);
  });

  it('spreads the last requests of a window over the time that is left', async () => {
    const { pace, now } = startPace();
    pace.read('api', said(5, 99));
    const at: number[] = [];
    for (let index = 0; index < 5; index += 1) {
      await pace.turn('api');
      at.push(Math.round(now() / 1000));
    }
    expect(at).toEqual([0, 20, 40, 60, 80]);
  });

  it('waits for the next window, and a second more, when nothing is left', async () => {
    const { pace, now, waits } = startPace();
    pace.read('api', said(0, 55));
    await Promise.all([pace.turn('api'), pace.turn('api'), pace.turn('api')]);
    expect(now()).toBeGreaterThanOrEqual(56_000);
    // That is said once, not by everybody who waits.
    expect(waits).toEqual([56_000]);
  });

  it('counts what is on its way: of answers that come out of order the lowest number holds', async () => {
    const { pace, now } = startPace();
    pace.read('api', said(1, 60));
    pace.read('api', said(3, 60));
    await pace.turn('api');
    expect(now()).toBe(0);
    await pace.turn('api');
    expect(now()).toBeGreaterThan(50_000);
  });

  it('does not believe an answer that comes late, and says more than was left since', async () => {
    const { pace, now } = startPace();
    pace.read('api', said(3, 10));
    pace.read('api', said(40, 14));
    for (let index = 0; index < 3; index += 1) await pace.turn('api');
    await pace.turn('api');
    expect(now()).toBeGreaterThanOrEqual(11_000);
  });

  it('counts what left before the first answer of a window', async () => {
    const { pace, now } = startPace();
    for (let index = 0; index < 30; index += 1) await pace.turn('api');
    pace.read('api', said(29, 60, 30));
    expect(now()).toBe(0);
    await pace.turn('api');
    expect(now()).toBeGreaterThan(50_000);
  });

  it('takes a refusal for the end of the window, as long as it says', async () => {
    const { pace, now } = startPace();
    pace.read('api', {}, 7000);
    await pace.turn('api');
    expect(now()).toBe(7000);
  });

  it('says once that it waits, however many are refused meanwhile', async () => {
    const { pace, waits } = startPace();
    for (const ms of [7000, 5000, 9000]) pace.read('api', {}, ms);
    await pace.turn('api');
    expect(waits).toEqual([7000]);
    pace.read('api', {}, 1000);
    expect(waits).toEqual([7000, 1000]);
  });

  it('does not count answers that say nothing as if they were still under way', async () => {
    const { pace, now } = startPace();
    for (let index = 0; index < 30; index += 1) {
      await pace.turn('api');
      pace.read('api', {});
    }
    await pace.turn('api');
    pace.read('api', said(29, 60, 30));
    await pace.turn('api');
    expect(now()).toBe(0);
  });

  it('does not let one bucket wait for another', async () => {
    const { pace, now } = startPace();
    pace.read('resolvers', said(0, 100));
    await pace.turn('api');
    expect(now()).toBe(0);
  });

  it('gives up when the wait would be too long', async () => {
    const { pace } = startPace(10_000);
    pace.read('api', said(0, 100));
    expect(await codeOf(pace.turn('api'))).toBe('E_RATE_LIMIT');
  });
});
