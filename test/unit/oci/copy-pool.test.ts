import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import type { ContentTarget } from '../../../src/core/ports.ts';
import { CopyPool, Destination } from '../../../src/oci/copy/pool.ts';
import { codeOf } from '../../support/failures.ts';
import { MirrorError } from '../../../src/core/errors.ts';

const digest = sha256('blob');

/** Work that ends when it is told to. */
function held(): { work: () => Promise<void>; begun: () => boolean; end: (error?: Error) => void } {
  let begun = false;
  let end: (error?: Error) => void = () => {};
  const done = new Promise<void>((resolve, reject) => {
    end = (error) => (error ? reject(error) : resolve());
  });
  const work = (): Promise<void> => {
    begun = true;
    return done;
  };
  return { work, begun: () => begun, end: (error) => end(error) };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a thing that two copies need', () => {
  it('is brought once, and the other one waits for it', async () => {
    const destination = new Destination();
    const [one, other] = [held(), held()];

    const first = destination.once(digest, one.work);
    const second = destination.once(digest, other.work);
    one.end();
    await Promise.all([first, second]);

    expect([one.begun(), other.begun()]).toEqual([true, false]);
  });

  it('is brought by the other one when the first fails, whose failure stays its own', async () => {
    const destination = new Destination();
    const [one, other] = [held(), held()];

    const first = destination.once(digest, one.work);
    const second = destination.once(digest, other.work);
    one.end(new MirrorError('E_NETWORK', 'gone'));
    expect(await codeOf(first)).toBe('E_NETWORK');
    await settled();
    expect(other.begun()).toBe(true);
    other.end();

    await expect(second).resolves.toBeUndefined();
  });
});

describe('a pool', () => {
  it('gives one destination for one repository, and lets repositories of a host have a blob in turn', async () => {
    const pool = new CopyPool(2);
    const [a, b, elsewhere] = [pool.destination('h', 'a'), pool.destination('h', 'b'), pool.destination('i', 'a')];
    const [first, second, third] = [held(), held(), held()];

    const all = [a.inTurn(digest, first.work), b.inTurn(digest, second.work), elsewhere.inTurn(digest, third.work)];
    await settled();
    const before = [first.begun(), second.begun(), third.begun()];
    first.end();
    await settled();
    const after = second.begun();
    second.end();
    third.end();
    await Promise.all(all);

    expect(pool.destination('h', 'a')).toBe(a);
    expect(before).toEqual([true, false, true]);
    expect(after).toBe(true);
  });

  it('asks a repository once whether it was empty, and takes no answer for no', async () => {
    let asked = 0;
    const target = (answer: () => Promise<boolean>): ContentTarget =>
      ({
        isEmpty: () => {
          asked += 1;
          return answer();
        },
      }) as unknown as ContentTarget;
    const [empty, silent, unable] = [new Destination(), new Destination(), new Destination()];

    expect(await empty.wasEmpty(target(() => Promise.resolve(true)))).toBe(true);
    expect(await empty.wasEmpty(target(() => Promise.resolve(false)))).toBe(true);
    expect(await silent.wasEmpty(target(() => Promise.reject(new Error('no'))))).toBe(false);
    expect(await unable.wasEmpty({} as unknown as ContentTarget)).toBe(false);
    expect(asked).toBe(2);
  });
});
