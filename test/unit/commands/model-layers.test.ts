import { describe, expect, it } from 'vitest';
import {
  checkedLayer,
  layerContent,
  layerDigest,
  type ModelFileContent,
  planLayers,
} from '../../../src/commands/import/model-layers.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { contentOf } from '../../../src/core/stream.ts';
import { collect } from '../../support/contents.ts';
import { codeOf } from '../../support/failures.ts';
import { seededBytes } from '../../support/seeded-bytes.ts';

const mebi = 1024 * 1024;
const sized = (path: string, size: number): { path: string; size: number } => ({ path, size });
const fileOf = (path: string, bytes: Uint8Array): ModelFileContent => ({
  path,
  size: bytes.length,
  digest: sha256(bytes),
  content: contentOf(bytes),
});
const signal = new AbortController().signal;

describe('layers of a model', () => {
  it('hold small files together and large ones apart, in whatever order they come', () => {
    const files = [sized('b.bin', 20 * mebi), sized('z.json', 2), sized('a.bin', 16 * mebi), sized('c/d.txt', mebi)];
    const expected = [['c/d.txt', 'z.json'], ['a.bin'], ['b.bin']];

    for (const order of [files, files.toReversed()])
      expect(planLayers(order).map((layer) => layer.map(({ path }) => path))).toEqual(expected);
  });

  it('are never more than a file system takes, and hold every file once', () => {
    const files = Array.from({ length: 500 }, (_, index) => sized(`shard-${index}`, 20 * mebi));

    const layers = planLayers([...files, sized('config.json', 2)]);

    expect(layers.length).toBeLessThanOrEqual(97);
    expect(new Set(layers.flat().map(({ path }) => path)).size).toBe(501);
    expect(layers.flat()).toHaveLength(501);
  });

  it('of no file are none', () => {
    expect(planLayers([])).toEqual([]);
  });

  it('can be opened at any offset, and have the digest that was computed', async () => {
    const long = `${'folder/'.repeat(30)}größe.txt`;
    const files = [
      fileOf('a.bin', seededBytes('a', 5000)),
      fileOf('empty', Buffer.alloc(0)),
      fileOf(long, seededBytes('b', 512)),
    ];
    const content = layerContent(files);
    const checked = checkedLayer(files);
    const whole = await collect(content.open(0));

    expect([whole.length, whole.length]).toEqual([content.size, checked.size]);
    expect(await layerDigest(files, () => {}, signal)).toBe(sha256(whole));
    for (const offset of [1, 511, 512, 700, 5511, 5512, 6000, whole.length - 1, whole.length])
      for (const each of [content, checked])
        expect((await collect(each.open(offset))).equals(whole.subarray(offset))).toBe(true);
  });

  it('are never computed of a file with other bytes', async () => {
    const wrong = { ...fileOf('a', Buffer.from('right')), content: contentOf(Buffer.from('wrong')) };

    expect(await codeOf(layerDigest([wrong], () => {}, signal))).toBe('E_DIGEST_MISMATCH');
  });

  it.each([0, 512, 514])('that are sent from byte %d on break at a file with other bytes', async (offset) => {
    const wrong = { ...fileOf('a', Buffer.from('right')), content: contentOf(Buffer.from('wrong')) };

    expect(await codeOf(collect(checkedLayer([wrong]).open(offset)))).toBe('E_DIGEST_MISMATCH');
  });
});
