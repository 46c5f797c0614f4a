import { spawnSync } from 'node:child_process';
import { Parser } from 'tar';
import { describe, expect, it } from 'vitest';
import { endBytes, paddingOf, tarHeader, tarHeaderSize } from '../../../src/bundle/writing/tar-header.ts';

type Member = { path: string; size: number } | { path: string; link: string };

const long = (length: number): string =>
  'directory-of-a-long-path/'.repeat(Math.ceil(length / 25)).slice(0, length - 1) + 'x';

/** Members as a reader has to see them; those with bytes beyond memory come last, without their bytes. */
const members: [string, Member][] = [
  ['a plain file', { path: 'a/b.txt', size: 11 }],
  ['an empty file', { path: 'a/empty', size: 0 }],
  ['a path of 100 bytes', { path: long(100), size: 1 }],
  ['a path of 101 bytes', { path: long(101), size: 1 }],
  ['a path of 255 bytes', { path: long(255), size: 1 }],
  ['a path of 300 bytes', { path: long(300), size: 1 }],
  ['a path of 1,000 bytes', { path: long(1000), size: 1 }],
  ['one name of 200 bytes', { path: 'n'.repeat(200), size: 1 }],
  ['letters beyond ASCII', { path: 'assets/größe + 量 😀.txt', size: 7 }],
  ['a path that is letters beyond ASCII and long', { path: `${'größe/'.repeat(40)}x`, size: 3 }],
  ['blanks and signs', { path: 'a =b', size: 2 }],
  ['a link', { path: 'snapshots/1/a', link: '../../blobs/x' }],
  ['a link to a place 150 bytes away', { path: 'snapshots/1/b', link: `../../${long(150)}` }],
  ['a link to letters beyond ASCII', { path: 'snapshots/1/c', link: '../../größe' }],
  ['a long link to a long place', { path: long(280), link: `../../${long(400)}` }],
];

function archiveOf(list: readonly Member[]): Buffer {
  const parts = list.flatMap((member) => {
    const size = 'size' in member ? member.size : 0;
    return [tarHeader(member), Buffer.alloc(size, 'x'), Buffer.alloc(paddingOf(size))];
  });
  return Buffer.concat([...parts, Buffer.alloc(endBytes)]);
}

async function readBack(archive: Buffer): Promise<Member[]> {
  const found: Member[] = [];
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        found.push(
          entry.type === 'SymbolicLink'
            ? { path: entry.path, link: entry.linkpath ?? '' }
            : { path: entry.path, size: entry.size },
        );
        entry.resume();
      },
    });
    parser.on('end', () => resolve());
    parser.on('error', reject);
    parser.end(archive);
  });
  return found;
}

describe('read back with the tar package', () => {
  it.each(members)('%s', async (_, member) => {
    expect(await readBack(archiveOf([member]))).toEqual([member]);
  });

  it('all of them in one archive', async () => {
    const list = members.map(([, member]) => member);

    expect(await readBack(archiveOf(list))).toEqual(list);
  });
});

const python = ['python3', 'python'].find((name) => spawnSync(name, ['-c', 'import tarfile']).status === 0);

const reader = `
import json, sys, tarfile
found = []
with tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='utf-8', errors='strict') as archive:
    for member in archive:
        assert member.uid == 0 and member.gid == 0 and member.mtime == 0, member
        if member.issym():
            found.append({'path': member.name, 'link': member.linkname})
        else:
            assert member.isreg() and member.mode == 0o644, member
            found.append({'path': member.name, 'size': member.size})
        if '--first' in sys.argv:
            break
print(json.dumps(found))
`;

function readWithPython(archive: Buffer, ...flags: string[]): unknown {
  const { status, stdout, stderr } = spawnSync(python ?? '', ['-c', reader, ...flags], { input: archive });
  if (status !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString());
}

describe.skipIf(python === undefined)('read back with tarfile of python', () => {
  it('all of them in one archive', () => {
    const list = members.map(([, member]) => member);

    expect(readWithPython(archiveOf(list))).toEqual(list);
  });

  it.each([8 * 1024 ** 3 - 1, 8 * 1024 ** 3, 9 * 1024 ** 3 + 5, 2 ** 45])('a file of %d bytes', (size) => {
    expect(readWithPython(tarHeader({ path: 'weights', size }), '--first')).toEqual([{ path: 'weights', size }]);
  });
});

it.each([8 * 1024 ** 3 - 1, 8 * 1024 ** 3, 9 * 1024 ** 3 + 5, 2 ** 45])(
  'states a size of %d bytes that the tar package reads',
  async (size) => {
    const found = await new Promise((resolve) => {
      const parser = new Parser({ onReadEntry: (entry) => resolve({ path: entry.path, size: entry.size }) });
      parser.write(tarHeader({ path: 'weights', size }));
    });

    expect(found).toEqual({ path: 'weights', size });
  },
);

it.each(members)('is whole blocks, the same each time: %s', (_, member) => {
  const header = tarHeader(member);

  expect(header.length % 512).toBe(0);
  expect(tarHeader(member).equals(header)).toBe(true);
});

it('pads to whole blocks', () => {
  expect([0, 1, 511, 512, 513].map(paddingOf)).toEqual([0, 511, 1, 0, 511]);
});

it('the size of a header is known without making it', () => {
  const names = [1, 98, 99, 100, 101, 155, 156, 300].flatMap((length) => [
    'x'.repeat(length),
    `${'d/'.repeat(length / 2)}x`,
  ]);
  for (const path of [...names, 'größe', 'a b', 'tab\t']) {
    for (const size of [0, 8 ** 11 - 1, 8 ** 11])
      expect(tarHeaderSize({ path, size })).toBe(tarHeader({ path, size }).length);
    for (const link of [...names, 'größe'])
      expect(tarHeaderSize({ path, link })).toBe(tarHeader({ path, link }).length);
  }
});
