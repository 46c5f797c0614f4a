import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HubClient } from '../../src/hub/access/client.ts';
import { everything } from '../../src/hub/selection/filter.ts';
import type { RepoFile } from '../../src/hub/repo.ts';
import { fetchSnapshot, type SnapshotTally } from '../../src/hub/snapshot/snapshot.ts';
import { planSnapshot } from '../../src/hub/snapshot/snapshot-plan.ts';
import { collect } from '../support/contents.ts';
import { codeOf } from '../support/failures.ts';
import { type HubPlace, readSnapshot, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

const size = 3 * 1024 * 1024 + 12_345;
const weights = seededBytes('huge', size);
const path = 'weights/größe + 1.safetensors';
const name = { type: 'model', repo: 'org/huge' } as const;
const token = 'no_prefix_canary';
let place: HubPlace;
let commit: string;
let hub: HubClient;

beforeEach(async () => {
  place = await startHubPlace({ tokens: { [token]: { access: ['org/huge'] } } });
  commit = place.hub.addRepo({
    id: 'org/huge',
    private: true,
    xet: true,
    files: { 'config.json': '{}', [path]: weights },
  }).commit;
  hub = clientOf(1024 * 1024);
});

afterEach(() => place.close());

/** A client for which files above this size are too large for plain HTTP. */
function clientOf(plainLimit: number): HubClient {
  return new HubClient(place.context.http, {
    endpoint: place.hub.url,
    token: () => Promise.resolve(token),
    retry: { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 1000 },
    plainLimit,
  });
}

async function fetchHuge(client = hub): Promise<SnapshotTally> {
  const { plan } = await planSnapshot(client, { ...name, revision: 'main' }, everything);
  return fetchSnapshot(client, join(place.directory, 'store'), plan, {
    slots: 4,
    report: place.context.report,
    symlinks: true,
    rangesFrom: 1,
    pool: () => {
      throw new Error('nothing is to be hashed again');
    },
  });
}

async function expectWhole(): Promise<void> {
  const found = await readSnapshot(place.cache, 'models--org--huge', commit);
  expect(Buffer.from(found[path] ?? '', 'latin1').equals(weights)).toBe(true);
  expect((await filesBelow(place.cache)).filter((file) => file.endsWith('.partial'))).toEqual([]);
}

const xorbBytes = (): number =>
  place.hub.xet.server.requests.reduce((sum, { path: at, sent }) => sum + (at.startsWith('/xorbs/') ? sent : 0), 0);

describe('a file that is too large for plain HTTP', () => {
  it('comes by Xet, and the token goes to the hub alone', async () => {
    expect((await fetchHuge()).fetchedBytes).toBe(size + 2);
    await expectWhole();
    expect(place.hub.cdn.requests).toEqual([]);
    expect(place.hub.xet.server.requests.map(({ headers }) => headers.authorization)).not.toContain(`Bearer ${token}`);
  });

  it.each([
    ['a connection breaks', { kind: 'reset', after: 100_000 }],
    ['an answer ends early', { kind: 'truncate', after: 100_000 }],
    ['its server fails for a while', { kind: 'status', status: 503 }],
  ] as const)('is whole in the end when %s', async (_, fault) => {
    let left = 2;
    place.hub.xet.server.faults = ({ path: at }) => (at.startsWith('/xorbs/') && left-- > 0 ? fault : undefined);
    expect((await fetchHuge()).fetched).toBe(2);
    await expectWhole();
  });

  it('is whole in the end when addresses expire', async () => {
    let first = true;
    place.hub.xet.server.faults = ({ path: at }) => {
      if (at.startsWith('/xorbs/') && first) {
        place.hub.xet.expire();
        first = false;
      }
      return undefined;
    };
    expect((await fetchHuge()).fetchedBytes).toBe(size + 2);
    await expectWhole();
  });

  it('goes on behind what an earlier run has left', async () => {
    place.hub.xet.server.faults = ({ path: at }) =>
      at.startsWith('/xorbs/') && xorbBytes() > size / 2 ? { kind: 'status', status: 404 } : undefined;
    expect(await codeOf(fetchHuge())).toBe('E_NOT_FOUND');
    expect(await filesBelow(join(place.cache, 'models--org--huge'))).not.toContain('refs/main');
    place.hub.xet.server.faults = undefined;
    const before = xorbBytes();
    await fetchHuge();
    await expectWhole();
    expect(xorbBytes() - before).toBeLessThan(0.75 * size);
  });

  it('with wrong bytes is fetched once more, and then refused', async () => {
    let flips = 1;
    place.hub.xet.server.faults = ({ path: at }) =>
      at.startsWith('/xorbs/') && flips-- > 0 ? { kind: 'flip', at: 1000 } : undefined;
    await fetchHuge();
    await expectWhole();
    place.hub.addRepo({ id: 'org/huge', private: true, xet: true, files: { [path]: seededBytes('new', size) } });
    flips = 1000;
    expect(await codeOf(fetchHuge())).toBe('E_DIGEST_MISMATCH');
  });

  it('can be read in part, which is what the safety report does', async () => {
    const file = (await hub.files(name, commit)).find((each) => each.path === path) as RepoFile;
    const part = await collect(hub.content(name, commit, file).open(1_000_001, undefined, 1_000_101));
    expect(part.equals(weights.subarray(1_000_001, 1_000_101))).toBe(true);
  });

  it('comes by plain HTTP where the hub does not offer Xet', async () => {
    commit = place.hub.addRepo({ id: 'org/huge', private: true, files: { [path]: weights } }).commit;
    await fetchHuge();
    await expectWhole();
    expect(place.hub.xet.server.requests).toEqual([]);
  });
});

it('a file of fifty billion bytes still comes by plain HTTP, a larger one does not', async () => {
  const { context } = place;
  const file = { path, checksum: { algorithm: 'sha256', hex: '' }, gitOid: '' } as const;
  expect(context.hub().isByXet({ ...file, size: 50_000_000_000 })).toBe(false);
  expect(context.hub().isByXet({ ...file, size: 50_000_000_001 })).toBe(true);
  await fetchHuge(clientOf(size));
  expect(place.hub.xet.server.requests).toEqual([]);
});
