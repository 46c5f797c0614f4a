import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  dataOffset,
  type FileMember,
  type LayoutEntry,
  type Member,
  partName,
  planVolumes,
  type VolumePlan,
} from '../../../src/bundle/writing/layout.ts';
import { endBytes, paddingOf, tarHeader } from '../../../src/bundle/writing/tar-header.ts';
import { codeOfCall, failureOfCall } from '../../support/failures.ts';

const least = 64 * 1024;
const path = fc.oneof(
  fc.stringMatching(/^[a-z]{1,12}$/),
  fc.stringMatching(/^[a-z]{60,90}\/[a-z]{60,90}\/[a-z]{60,90}$/),
  fc.constantFrom('größe', 'hub/models--a--b/snapshots/量'),
);
const size = fc.oneof(
  fc.integer({ min: 0, max: 4096 }),
  fc.integer({ min: 0, max: 40 * least }),
  fc.constantFrom(0, 1, 511, 512, 513, least - 1536, least - 2048, least - 2049, least, 9 * 1024 ** 3),
);
const entry: fc.Arbitrary<LayoutEntry> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ path, size }) },
  { weight: 1, arbitrary: fc.record({ path, link: path.map((target) => `../${target}`) }) },
);
const entries = fc.uniqueArray(entry, { selector: (each) => each.path, maxLength: 25 });
const volumeSize = fc.oneof(
  fc.integer({ min: least, max: 4 * least }),
  fc.constantFrom(least, 4 * 1024 ** 3 - 1, 10 * 1024 ** 3),
);

/** Parts have four digits, so some sizes are refused for some volumes. */
const fits = ([list, limit]: [LayoutEntry[], number]): boolean =>
  list.every((each) => 'link' in each || each.size / (limit - 8192) < 9999);

const lengthOf = (member: Member): number =>
  member.headerBytes + (member.kind === 'file' ? member.size + paddingOf(member.size) : 0);

/** Members follow each other without a gap, from the first byte to the two blocks of zeros. */
function expectTiled(volume: VolumePlan): void {
  let end = 0;
  for (const member of volume.members) {
    expect(member.offset).toBe(end);
    end += lengthOf(member);
  }
  expect(volume.size).toBe(end + endBytes);
}

const pathOf = (member: Member): string => (member.kind === 'link' ? member.path : member.source.path);

function membersOf(volumes: readonly VolumePlan[], wanted: string): Member[] {
  return volumes.flatMap(({ members }) => [...members]).filter((member) => pathOf(member) === wanted);
}

/** The parts of a file follow each other in the order of their names and add up to it. */
function expectWhole(entry: { path: string; size: number }, parts: readonly Member[]): void {
  const files = parts.filter((part): part is FileMember => part.kind === 'file');
  expect(files).toHaveLength(parts.length);
  let start = 0;
  for (const part of files) {
    expect(part.start).toBe(start);
    start += part.size;
  }
  expect(start).toBe(entry.size);
  const names = files.map(({ name }) => name);
  expect(names).toEqual(files.length === 1 ? [entry.path] : names.toSorted());
  expect(new Set(names).size).toBe(names.length);
}

function expectLink(members: readonly Member[]): void {
  expect(members.map(({ kind }) => kind)).toEqual(['link']);
}

/** Of a volume with nothing but this file. */
function wholeLength(entry: { path: string; size: number }): number {
  return tarHeader(entry).length + entry.size + paddingOf(entry.size) + endBytes;
}

it('tiles every volume within its limit, splits only what is larger, and loses nothing', () => {
  fc.assert(
    fc.property(fc.tuple(entries, volumeSize).filter(fits), ([list, limit]) => {
      const volumes = planVolumes('b', list, limit);

      for (const volume of volumes) {
        expect(volume.size).toBeLessThanOrEqual(limit);
        expectTiled(volume);
      }
      expect(new Set(volumes.map(({ name }) => name)).size).toBe(volumes.length);
      const split: LayoutEntry[] = [];
      for (const each of list) {
        const members = membersOf(volumes, each.path);
        if ('link' in each) expectLink(members);
        else expectWhole(each, members);
        if (members.length > 1) split.push(each);
      }
      for (const each of split) expect('size' in each && wholeLength(each) > limit - (limit % 512)).toBe(true);
      expect(
        volumes
          .flatMap(({ members }) => [...members])
          .every((member) => list.some((each) => each.path === pathOf(member))),
      ).toBe(true);
    }),
    { seed: 3, numRuns: 150 },
  );
});

it('makes the same volumes of the same entries', () => {
  fc.assert(
    fc.property(fc.tuple(entries, volumeSize).filter(fits), ([list, limit]) => {
      expect(planVolumes('b', list, limit)).toEqual(planVolumes('b', [...list], limit));
    }),
    { seed: 4, numRuns: 8 },
  );
});

it('keeps entries in their order', () => {
  const list: LayoutEntry[] = Array.from({ length: 300 }, (_, index) => ({ path: `f${index}`, size: index * 97 }));

  const volumes = planVolumes('b', list, 2 * least);

  expect(volumes.flatMap(({ members }) => members.map(pathOf))).toEqual(list.map((each) => each.path));
});

it('fills a volume to its last block before it begins the next one', () => {
  const exact = least - endBytes - 512;

  expect(planVolumes('b', [{ path: 'a', size: exact }], least).map(({ size }) => size)).toEqual([least]);
  expect(planVolumes('b', [{ path: 'a', size: exact + 1 }], least)).toHaveLength(2);
  expect(
    planVolumes(
      'b',
      [
        { path: 'a', size: exact - 512 },
        { path: 'b', size: 0 },
      ],
      least,
    ),
  ).toHaveLength(1);
  expect(
    planVolumes(
      'b',
      [
        { path: 'a', size: exact - 512 },
        { path: 'b', size: 1 },
      ],
      least,
    ),
  ).toHaveLength(2);
});

it('numbers volumes and parts so that names sort', () => {
  const volumes = planVolumes('b', [{ path: 'a', size: 3 * least }], least);

  expect(volumes.map(({ name }) => name)).toEqual(['b.0001.tar', 'b.0002.tar', 'b.0003.tar', 'b.0004.tar']);
  expect(membersOf(volumes, 'a').map((member) => (member.kind === 'file' ? member.name : ''))).toEqual([
    'a.part-0001-of-0004',
    'a.part-0002-of-0004',
    'a.part-0003-of-0004',
    'a.part-0004-of-0004',
  ]);
  expect(partName('a', 2, 3)).toBe('a.part-0002-of-0003');
});

it('says where the bytes of a member begin', () => {
  const [volume] = planVolumes(
    'b',
    [
      { path: 'a', size: 10 },
      { path: 'b', size: 10 },
    ],
    least,
  );

  expect(volume?.members.map(dataOffset)).toEqual([512, 1536]);
});

describe('what cannot be laid out', () => {
  it.each([0, -1, 1, least - 1, Number.NaN])('refuses volumes of %d bytes', (limit) => {
    expect(codeOfCall(() => planVolumes('b', [], limit))).toBe('E_USAGE');
  });

  it('refuses a file in more parts than four digits can number, because `cat` would join them in another order', () => {
    expect(codeOfCall(() => planVolumes('b', [{ path: 'a', size: 10_000 * least }], least))).toBe('E_USAGE');
  });

  it('refuses to split a file whose parts would have names that no file system has, and says of which size it stays whole', () => {
    const plan = (length: number, limit = least): VolumePlan[] =>
      planVolumes(
        'b',
        [{ path: `d/${'é'.repeat(Math.floor(length / 2))}${'x'.repeat(length % 2)}`, size: least }],
        limit,
      );

    expect(plan(237)).toHaveLength(2);
    const { code, hint } = failureOfCall(() => plan(238));
    expect(code).toBe('E_USAGE');
    expect(plan(255, Number(/--volume-size (\d+)/.exec(hint ?? '')?.[1]))).toHaveLength(1);
  });

  it('says which size of volumes four digits are enough for', () => {
    const size = 10_000 * least;
    const { hint } = failureOfCall(() => planVolumes('b', [{ path: 'a', size }], least));
    const enough = Number(/--volume-size (\d+)/.exec(hint ?? '')?.[1]);
    expect(planVolumes('b', [{ path: 'a', size }], enough).length).toBeLessThan(10_000);
  });
});

it('makes no volume of nothing', () => {
  expect(planVolumes('b', [], least)).toEqual([]);
});
