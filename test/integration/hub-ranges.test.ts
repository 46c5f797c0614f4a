import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { everything } from '../../src/hub/selection/filter.ts';
import { fetchSnapshot, type SnapshotTally } from '../../src/hub/snapshot/snapshot.ts';
import { planSnapshot } from '../../src/hub/snapshot/snapshot-plan.ts';
import { failureOf } from '../support/failures.ts';
import type { HubOptions } from '../support/hub.ts';
import { type HubPlace, readSnapshot, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

/** Three ranges, the last of them short. */
const size = 34 * 1024 * 1024;
const weights = seededBytes('big', size);
const folder = 'models--org--big';
const files = { 'model.safetensors': weights };
let place: HubPlace;
let commit: string;

async function start(options: HubOptions = {}): Promise<void> {
  place = await startHubPlace(options);
  commit = place.hub.addRepo({ id: 'org/big', files }).commit;
}

beforeEach(() => start());
afterEach(() => place.close());

async function fetchBig(): Promise<SnapshotTally> {
  const { context, directory } = place;
  const { plan } = await planSnapshot(context.hub(), { type: 'model', repo: 'org/big', revision: 'main' }, everything);
  return fetchSnapshot(context.hub(), join(directory, 'store'), plan, {
    slots: 4,
    report: context.report,
    signal: context.signal,
    symlinks: true,
    rangesFrom: 1,
    pool: () => {
      throw new Error('nothing is to be hashed again');
    },
  });
}

async function expectWhole(): Promise<void> {
  const found = await readSnapshot(place.cache, folder, commit);
  expect(Buffer.from(found['model.safetensors'] ?? '', 'latin1').equals(weights)).toBe(true);
  expect((await filesBelow(place.cache)).filter((path) => path.endsWith('.partial'))).toEqual([]);
}

const ranges = (): (string | undefined)[] => place.hub.cdn.requests.map(({ headers }) => headers.range);

describe('a big file', () => {
  it('comes in ranges side by side, and the hub is asked once where they are', async () => {
    expect((await fetchBig()).fetchedBytes).toBe(size);
    await expectWhole();
    expect(place.hub.server.count(/resolve\//)).toBe(1);
    const mebi = 1024 * 1024;
    expect(new Set(ranges())).toEqual(
      new Set([`bytes=0-${16 * mebi - 1}`, `bytes=${16 * mebi}-${32 * mebi - 1}`, `bytes=${32 * mebi}-${size - 1}`]),
    );
    expect(ranges()).toHaveLength(3);
  });

  it('goes on where an address expires or a connection breaks', async () => {
    let requests = 0;
    place.hub.cdn.faults = () => {
      requests += 1;
      if (requests === 2) place.hub.expireUrls();
      return requests === 1 ? { kind: 'reset', after: 5_000_000 } : undefined;
    };
    const { fetchedBytes } = await fetchBig();
    await expectWhole();
    expect(place.hub.server.count(/resolve\//)).toBeGreaterThan(1);
    expect(fetchedBytes).toBeLessThan(size * 1.05);
  });

  it('comes whole where ranges are ignored', async () => {
    await place.close();
    await start({ cdn: { ignoreRange: true } });
    expect((await fetchBig()).fetched).toBe(1);
    await expectWhole();
  });

  it('that stopped in the middle goes on with the ranges that are missing', async () => {
    place.hub.cdn.faults = ({ headers }) =>
      headers.range?.startsWith('bytes=0-') ? { kind: 'status', status: 404 } : undefined;
    expect((await failureOf(fetchBig())).code).toBe('E_NOT_FOUND');
    expect(await filesBelow(join(place.cache, folder))).not.toContain('refs/main');
    place.hub.cdn.faults = undefined;
    const before = ranges().length;

    expect((await fetchBig()).fetchedBytes).toBeLessThanOrEqual(16 * 1024 * 1024);

    expect(ranges().slice(before)).toEqual([`bytes=0-${16 * 1024 * 1024 - 1}`]);
    await expectWhole();
  });

  it('that is shorter than announced is refused, for the server has nothing in its last range', async () => {
    const declaredSizes = { 'model.safetensors': 64 * 1024 * 1024 };
    commit = place.hub.addRepo({ id: 'org/big', files, declaredSizes }).commit;
    expect((await failureOf(fetchBig())).code).toBe('E_SIZE_MISMATCH');
    expect(place.hub.cdn.requests.map(({ status }) => status)).toContain(416);
    expect(await filesBelow(join(place.cache, folder))).not.toContain('refs/main');
  });

  it('with wrong bytes is fetched once more, and then refused', async () => {
    let flips = 1;
    place.hub.cdn.faults = () => (flips-- > 0 ? { kind: 'flip', at: 7 } : undefined);
    await fetchBig();
    await expectWhole();
    expect(ranges()).toHaveLength(6);

    place.hub.addRepo({ id: 'org/big', files: { 'model.safetensors': seededBytes('new', size) } });
    place.hub.cdn.faults = () => ({ kind: 'flip', at: 7 });
    const error = await failureOf(fetchBig());
    expect(error.code).toBe('E_DIGEST_MISMATCH');
    expect(error.message).toContain('model.safetensors');
    // The first one is still whole.
    await expectWhole();
  });
});
