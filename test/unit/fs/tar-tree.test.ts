import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { paddingOf, tarHeader } from '../../../src/bundle/writing/tar-header.ts';
import type { FileTree } from '../../../src/core/ports.ts';
import { tarTree } from '../../../src/fs/tar-tree.ts';
import { collect, pieces } from '../../support/contents.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';
import { type TarFile, tarMember, tarOf } from '../../support/tar.ts';

const none = Buffer.alloc(0);
const end = Buffer.alloc(1024);

/** Opens an archive of these bytes for the time of a test. */
async function withTar(bytes: Uint8Array, work: (tree: Promise<FileTree>) => Promise<void>): Promise<void> {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'a.tar');
  await writeFile(path, bytes);
  await work(tarTree(path, 'a.tar'));
}

async function read(tree: FileTree, path: string): Promise<string | undefined> {
  const content = await tree.file(path);
  return content && (await collect(content.open(0))).toString();
}

const file = (path: string, text: string): TarFile => ({ path, bytes: Buffer.from(text) });
const link = (path: string, to: string, type = '2'): TarFile => ({ path, bytes: none, type, link: to });

describe('a tar', () => {
  it('gives its regular files, and nothing for what is not in it', async () => {
    const bytes = Buffer.from(seededBytes('tar', 3000));
    await withTar(
      tarOf([file('a', 'one'), { path: 'd/', bytes: none, type: '5' }, { path: 'd/b', bytes }]),
      async (t) => {
        const tree = await t;
        expect(await read(tree, 'a')).toBe('one');
        expect(await collect((await tree.file('d/b'))?.open(1000) ?? pieces())).toEqual(bytes.subarray(1000));
        expect(await tree.file('d')).toBeUndefined();
        expect(await tree.file('c')).toBeUndefined();
      },
    );
  });

  it.each([
    ['./a/b', 'a/b'],
    ['/a/b', 'a/b'],
    ['a/b', './a/b'],
  ])('knows %s by the name %s', async (written, asked) => {
    await withTar(tarOf([file(written, 'x')]), async (tree) => expect(await read(await tree, asked)).toBe('x'));
  });

  it('follows symbolic and hard links', async () => {
    const members = [
      file('one/layer.tar', 'layer'),
      link('two/layer.tar', '../one/layer.tar'),
      link('three/layer.tar', '../two/layer.tar'),
      link('hard', 'one/layer.tar', '1'),
    ];
    await withTar(tarOf(members), async (tree) => {
      for (const path of ['two/layer.tar', 'three/layer.tar', 'hard'])
        expect(await read(await tree, path)).toBe('layer');
    });
  });

  it('may have long names and no end mark', async () => {
    const long = `${'directory/'.repeat(30)}${'f'.repeat(90)}`;
    const pax = [tarHeader({ path: long, size: 3 }), Buffer.from('pax'), Buffer.alloc(paddingOf(3))];
    const gnu = [
      tarMember({ path: '././@LongLink', type: 'L', bytes: Buffer.from(`${long}2\0`) }),
      tarMember({ path: '././@LongLink', type: 'K', bytes: Buffer.from(`${long}\0`) }),
      tarMember(link('cut', 'off', '1')),
    ];
    await withTar(Buffer.concat([...pax, ...gnu]), async (tree) => {
      expect(await read(await tree, long)).toBe('pax');
      expect(await read(await tree, `${long}2`)).toBe('pax');
    });
  });

  it('may have members beyond 8 GiB, by base 256 and by PAX', async () => {
    await using place = await temporaryDirectory();
    const path = join(place.path, 'big.tar');
    const size = 9 * 1024 ** 3;
    const handle = await open(path, 'w');
    await handle.write(tarMember({ path: 'big', bytes: none, size }), 0, 512, 0);
    const second = 512 + size;
    const pax = Buffer.concat([tarMember(paxOf('size', String(size))), tarMember(file('large', ''))]);
    await handle.write(pax, 0, pax.length, second);
    const third = second + pax.length + size;
    await handle.write(tarMember(file('after', 'here')), 0, 1024, third);
    await handle.close();
    const tree = await tarTree(path, 'big.tar');
    expect((await tree.file('big'))?.size).toBe(size);
    expect((await tree.file('large'))?.size).toBe(size);
    expect(await read(tree, 'after')).toBe('here');
  });
});

describe('a damaged or hostile tar', () => {
  const whole = Buffer.from(tarOf([file('a', 'x'.repeat(2000)), file('b', 'y')]));

  it.each([
    ['in a body', 1024],
    ['in a header', 512 + 2048 + 100],
  ])('that is cut off %s is refused', async (_, length) => {
    await withTar(whole.subarray(0, length), async (tree) => expect(await codeOf(tree)).toBe('E_CORRUPT'));
  });

  it('that is cut off names the member', async () => {
    await withTar(whole.subarray(0, 1024), async (tree) => expect((await failureOf(tree)).at.item).toBe('a'));
  });

  it.each<[string, Buffer]>([
    ['something else', Buffer.from('{"not":"a tar"}'.repeat(100))],
    ['a header whose checksum is wrong', changed(whole, 0, 0x7a)],
    ['a size that is no number', tarOfRaw((block) => block.write('zzz', 124))],
    ['a negative size', tarOfRaw((block) => block.fill(0xff, 124, 136))],
    ['a size beyond all files', tarOfRaw((block) => block.fill(0xff, 124, 136).writeUInt8(0x80, 124))],
    ['more than the file has', Buffer.from(tarOf([{ ...file('a', 'x'), size: 1_000_000 }]))],
    [
      'a PAX record of a wrong length',
      Buffer.from(tarOf([{ path: 'x', type: 'x', bytes: Buffer.from('99 size=1\n') }])),
    ],
    ['a PAX size that is no number', Buffer.from(tarOf([paxOf('size', '-1'), file('a', 'x')]))],
    ['a sparse file', Buffer.from(tarOf([{ ...file('a', 'x'), type: 'S' }]))],
    ['a long name without end', Buffer.from(tarOf([{ path: 'l', type: 'L', bytes: Buffer.alloc(2 * 1024 * 1024) }]))],
  ])('with %s is refused', async (_, bytes) => {
    await withTar(bytes, async (tree) => expect(await codeOf(tree)).toBe('E_CORRUPT'));
  });

  it.each<[string, TarFile[]]>([
    ['two members of one name', [file('a', 'x'), file('./a', 'y')]],
    ['a link in a circle', [link('a', 'b'), link('b', 'a')]],
    ['a link to itself', [link('a', 'a', '1')]],
    ['a link to nothing', [link('a', 'b')]],
    ['a link that leaves it', [link('a', '../../etc/passwd'), file('etc/passwd', 'x')]],
    ['an absolute link', [link('a', '/etc/passwd'), file('etc/passwd', 'x')]],
  ])('with %s is refused when that is asked for, and only then', async (_, members) => {
    await withTar(tarOf([...members, file('good', 'g')]), async (tree) => {
      expect(await read(await tree, 'good')).toBe('g');
      const error = await failureOf(read(await tree, 'a'));
      expect([error.code, error.at]).toEqual(['E_CORRUPT', { side: 'source', item: 'a' }]);
    });
  });

  it('does not take the size of an extended header from the one before it', async () => {
    const members = [paxOf('size', '100'), { path: 'l', type: 'L', bytes: Buffer.from('name\0') }];
    await withTar(
      Buffer.concat([...members.map(tarMember), tarMember(file('a', 'x'.repeat(100))), end]),
      async (tree) => expect(await read(await tree, 'name')).toBe('x'.repeat(100)),
    );
  });
});

it.each([
  ['gzip', gzipSync(tarOf([file('a', 'x')]))],
  ['zstd', Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.alloc(1000)])],
])('a tar that is compressed with %s is refused with the command that unpacks it', async (kind, bytes) => {
  await withTar(bytes, async (tree) => {
    const error = await failureOf(tree);
    expect([error.code, error.hint]).toEqual(['E_USAGE', expect.stringContaining(`${kind} -dc a.tar`)]);
  });
});

it.each([
  ['an empty file', none],
  ['a short text', Buffer.from('nats:2.12.6-alpine')],
  ['other bytes', Buffer.from(seededBytes('other', 3000))],
])('%s is no tar, and the file is what the error names', async (_, bytes) => {
  await withTar(bytes, async (tree) => {
    const error = await failureOf(tree);
    expect([error.code, error.at.item, error.hint]).toEqual([
      'E_CORRUPT',
      'a.tar',
      expect.stringContaining('docker save'),
    ]);
  });
});

/** A PAX header for the next member; short enough that the length has two digits. */
function paxOf(key: string, value: string): TarFile {
  const record = ` ${key}=${value}\n`;
  return { path: 'x', type: 'x', bytes: Buffer.from(`${record.length + 2}${record}`) };
}

function changed(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = value;
  return copy;
}

/** A header that somebody changed and gave the right checksum. */
function tarOfRaw(change: (block: Buffer) => void): Buffer {
  const block = tarMember(file('a', ''));
  change(block);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([block, end]);
}
