import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import type { Content, ObjectStore } from '../../src/core/ports.ts';
import { contentOf } from '../../src/core/stream.ts';
import { collect, collectItems, watchedContent } from '../support/contents.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

/** A place of its own for each test: nothing is in it, and `cleanup` throws when something went wrong behind the scenes. */
export interface StoreUnderTest {
  store: ObjectStore;
  /** Uploads that nobody completed or aborted; absent where there is no such thing. */
  dangling?: (() => Promise<string[]>) | undefined;
  cleanup: () => Promise<void>;
}

const mebi = 1024 * 1024;
const expectedOf = (bytes: Uint8Array): { digest: ReturnType<typeof sha256>; size: number } => ({
  digest: sha256(bytes),
  size: bytes.length,
});

async function put(
  store: ObjectStore,
  key: string,
  bytes: Uint8Array | string,
): Promise<{ version?: string | undefined }> {
  const content = Buffer.from(bytes);
  return store.put(key, contentOf(content), expectedOf(content));
}

async function get(store: ObjectStore, key: string): Promise<Content> {
  const content = await store.get(key);
  if (!content) throw new Error(`there is no object ${key}`);
  return content;
}

async function read(store: ObjectStore, key: string, offset = 0): Promise<Buffer> {
  return collect((await get(store, key)).open(offset));
}

async function keysBelow(store: ObjectStore, prefix: string): Promise<string[]> {
  return (await collectItems(store.list(prefix))).map(({ key }) => key).toSorted();
}

/** What every flat store of objects has to do, whatever it is made of. */
export function objectStoreContract(name: string, make: () => Promise<StoreUnderTest>): void {
  const withStore = async (work: (made: StoreUnderTest) => Promise<void>): Promise<void> => {
    const made = await make();
    try {
      await work(made);
    } finally {
      await made.cleanup();
    }
  };

  const expectUnseen = async ({ store }: StoreUnderTest, key: string): Promise<void> => {
    expect(await store.head(key)).toBeUndefined();
    expect(await store.get(key)).toBeUndefined();
    expect(await keysBelow(store, '')).toEqual([]);
  };

  const expectNothing = async (made: StoreUnderTest, key: string): Promise<void> => {
    await expectUnseen(made, key);
    expect((await made.dangling?.()) ?? []).toEqual([]);
  };

  describe(`${name}: objects`, () => {
    it('are there after they were put, and not before', async () => {
      await withStore(async ({ store }) => {
        const bytes = seededBytes('object', 100_000);

        expect(await store.head('a/b')).toBeUndefined();
        expect(await store.get('a/b')).toBeUndefined();
        await put(store, 'a/b', bytes);

        expect(await store.head('a/b')).toMatchObject({ key: 'a/b', ...expectedOf(bytes) });
        expect((await store.get('a/b'))?.size).toBe(bytes.length);
        expect((await read(store, 'a/b')).equals(bytes)).toBe(true);
      });
    });

    it('can be opened at any offset, several times', async () => {
      await withStore(async ({ store }) => {
        const bytes = seededBytes('offsets', 200_000);
        await put(store, 'a', bytes);
        const content = await get(store, 'a');

        for (const offset of [1, 65_536, 199_999, 200_000, 0])
          expect((await collect(content.open(offset))).equals(bytes.subarray(offset))).toBe(true);
      });
    });

    it('may be empty', async () => {
      await withStore(async ({ store }) => {
        await put(store, 'empty', '');

        expect(await store.head('empty')).toMatchObject({ key: 'empty', ...expectedOf(Buffer.alloc(0)) });
        expect(await read(store, 'empty')).toHaveLength(0);
        expect(await keysBelow(store, '')).toEqual(['empty']);
      });
    });

    it('are replaced as a whole', async () => {
      await withStore(async ({ store }) => {
        await put(store, 'a', 'the first, which is longer');
        await put(store, 'a', 'second');

        expect((await read(store, 'a')).toString()).toBe('second');
        expect((await store.head('a'))?.digest).toBe(sha256('second'));
      });
    });

    it.each([
      'with blanks in it',
      ' blank at its ends ',
      'plus+plus',
      'größe + 量 😀.txt',
      'percent%20sign%',
      'quotes \' and "',
      'signs !$&*(),;:=@?#[]{}|^`~<>',
      'dots..in...it',
      '.hidden',
      '_',
      'models--ORG--NAME/refs/refs/pr/1',
      `long/${'n'.repeat(200)}`,
    ])('may be called %j', async (key) => {
      await withStore(async ({ store }) => {
        await put(store, key, key);
        await put(store, `folder/${key}`, 'other');

        expect((await read(store, key)).toString()).toBe(key);
        expect((await store.head(key))?.key).toBe(key);
        expect(await keysBelow(store, '')).toEqual([key, `folder/${key}`].toSorted());
        expect(await keysBelow(store, 'folder/')).toEqual([`folder/${key}`]);
      });
    });
  });

  describe(`${name}: copies`, () => {
    it.each(['plain', 'größe + 量 %20.txt'])('are the same bytes with the same digest, of %j too', async (key) => {
      await withStore(async ({ store }) => {
        const bytes = seededBytes('copied', 100_000);
        await put(store, `old/${key}`, bytes);

        await store.copy(`old/${key}`, `new/${key}`, bytes.length);

        expect(await store.head(`new/${key}`)).toMatchObject({ key: `new/${key}`, ...expectedOf(bytes) });
        expect((await read(store, `new/${key}`)).equals(bytes)).toBe(true);
        expect(await keysBelow(store, '')).toEqual([`new/${key}`, `old/${key}`]);
      });
    });

    it('of what is not there are told, and leave nothing', async () => {
      await withStore(async (made) => {
        expect(await codeOf(made.store.copy('none', 'a/b', 5))).toBe('E_NOT_FOUND');

        await expectNothing(made, 'a/b');
      });
    });
  });

  describe(`${name}: what is removed`, () => {
    it('is gone, and nothing else is', async () => {
      await withStore(async ({ store }) => {
        for (const key of ['a/b/c', 'a/b/cc', 'a/d/e', 'größe + 量 %20.txt']) await put(store, key, key);

        for (const key of ['a/b/c', 'a/d/e', 'größe + 量 %20.txt']) await store.remove(key);

        expect(await keysBelow(store, '')).toEqual(['a/b/cc']);
        expect(await store.head('a/b/c')).toBeUndefined();
        await put(store, 'a/d/e', 'again');
        expect(await keysBelow(store, 'a/d/')).toEqual(['a/d/e']);
      });
    });

    it('may be gone already', async () => {
      await withStore(async ({ store }) => {
        await store.remove('none');
        await store.remove('no/such/key');

        expect(await keysBelow(store, '')).toEqual([]);
      });
    });
  });

  describe(`${name}: lists`, () => {
    it('are empty at first', async () => {
      await withStore(async ({ store }) => {
        expect(await keysBelow(store, '')).toEqual([]);
        expect(await keysBelow(store, 'no/such/')).toEqual([]);
      });
    });

    it('go over several pages, and hold what begins with the prefix', async () => {
      await withStore(async ({ store }) => {
        const keys = Array.from({ length: 25 }, (_, index) => `a/${index % 2}/file-${String(index).padStart(2, '0')}`);
        await Promise.all([...keys, 'b', 'aa'].map((key) => put(store, key, key)));

        expect(await keysBelow(store, 'a/')).toEqual(keys.toSorted());
        expect(await keysBelow(store, 'a/1/')).toEqual(keys.filter((key) => key.startsWith('a/1/')));
        expect(await keysBelow(store, 'a/1/file-0')).toEqual(
          ['01', '03', '05', '07', '09'].map((n) => `a/1/file-${n}`),
        );
        expect(await keysBelow(store, '')).toHaveLength(27);
      });
    });

    it('tell a version of each, which is that of its head, and another one when the bytes are others', async () => {
      await withStore(async ({ store }) => {
        const first = await put(store, 'a/b', 'one');
        const [listed] = await collectItems(store.list('a/'));
        expect(listed?.version).toBeDefined();
        expect(listed?.version).toBe((await store.head('a/b'))?.version);
        expect(first.version).toBe(listed?.version);

        await setTimeout(20);
        await put(store, 'a/b', 'two');

        expect((await collectItems(store.list('a/')))[0]?.version).not.toBe(listed?.version);
      });
    });

    it('tell the size of each', async () => {
      await withStore(async ({ store }) => {
        await put(store, 'one', 'x');
        await put(store, 'three', 'xxx');

        const found = await collectItems(store.list(''));

        expect(new Map(found.map(({ key, size }) => [key, size]))).toEqual(
          new Map([
            ['one', 1],
            ['three', 3],
          ]),
        );
      });
    });
  });

  describe(`${name}: what is put is verified`, () => {
    const sizes: [string, number][] = [
      ['a small object', 200_000],
      ['an object in parts', 17 * mebi + 3],
    ];

    describe.each(sizes)('%s', (_, size) => {
      const bytes = Buffer.from(seededBytes('verified', size));
      const expected = expectedOf(bytes);
      const flipped = Buffer.from(bytes);
      flipped[size - 1] = (flipped.at(-1) ?? 0) ^ 1;

      it('comes out as it went in', async () => {
        await withStore(async ({ store, dangling }) => {
          await store.put('a', watchedContent(bytes), expected);

          expect(await store.head('a')).toMatchObject({ key: 'a', ...expected });
          expect((await read(store, 'a')).equals(bytes)).toBe(true);
          expect((await read(store, 'a', size - 100)).equals(bytes.subarray(size - 100))).toBe(true);
          expect((await dangling?.()) ?? []).toEqual([]);
        });
      });

      it.each<[string, Buffer, string]>([
        ['one other bit at the end', flipped, 'E_DIGEST_MISMATCH'],
        ['one byte less', bytes.subarray(0, -1), 'E_SIZE_MISMATCH'],
        ['one byte more', Buffer.concat([bytes, Buffer.from('x')]), 'E_SIZE_MISMATCH'],
        ['nothing', Buffer.alloc(0), 'E_SIZE_MISMATCH'],
      ])('%s: refused, and nothing can be seen', async (__, wrong, code) => {
        await withStore(async (made) => {
          expect(await codeOf(made.store.put('a', watchedContent(wrong), expected))).toBe(code);

          await expectNothing(made, 'a');
        });
      });

      it('a source that breaks is told as it is, and nothing can be seen', async () => {
        await withStore(async (made) => {
          const broken = new MirrorError('E_NETWORK', 'the source broke', { at: { side: 'source' } });
          const content = watchedContent(bytes, { broken: (position) => (position > size / 2 ? broken : undefined) });

          const error = await failureOf(made.store.put('a', content, expected));

          expect([error.code, error.at.side]).toEqual(['E_NETWORK', 'source']);
          await expectUnseen(made, 'a');
        });
      });

      it('an interruption leaves nothing to be seen, and the next try succeeds and leaves nothing else', async () => {
        await withStore(async (made) => {
          const controller = new AbortController();
          const content = watchedContent(bytes, {
            broken: (position) => {
              if (position > size / 2) controller.abort();
              return undefined;
            },
          });

          expect(await codeOf(made.store.put('a', content, expected, controller.signal))).toBe('E_ABORTED');

          await expectUnseen(made, 'a');
          await made.store.put('a', contentOf(bytes), expected);
          expect(await made.store.head('a')).toMatchObject({ key: 'a', ...expected });
          expect((await made.dangling?.()) ?? []).toEqual([]);
        });
      });

      it('what was there stays when its successor is refused', async () => {
        await withStore(async ({ store }) => {
          await put(store, 'a', 'old');

          expect(await codeOf(store.put('a', watchedContent(flipped), expected))).toBe('E_DIGEST_MISMATCH');

          expect((await read(store, 'a')).toString()).toBe('old');
        });
      });
    });

    it('bytes where none were announced', async () => {
      await withStore(async (made) => {
        const content = contentOf(Buffer.from('x'));

        expect(await codeOf(made.store.put('a', content, expectedOf(Buffer.alloc(0))))).toBe('E_SIZE_MISMATCH');

        await expectNothing(made, 'a');
      });
    });
  });
}
