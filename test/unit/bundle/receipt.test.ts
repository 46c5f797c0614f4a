import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PackedList } from '../../../src/bundle/lists/long-list.ts';
import {
  formatReceipt,
  parseLongReceipt,
  parseReceipt,
  type ReceivedObject,
  readReceipt,
  startReceipt,
} from '../../../src/bundle/records/receipt.ts';
import { sha256 } from '../../../src/core/digest.ts';
import { codeOf, codeOfCall } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

const digest = sha256('x');

/** The text of a receipt of one model with these objects. */
function textOf(objects: readonly unknown[]): Buffer {
  const receipt = startReceipt({ name: 'b', inventory: digest }, { models: 's3://bucket' });
  receipt.models.push({ repo: 'org/name', commit: 'c', objects: objects as ReceivedObject[] });
  return Buffer.from(formatReceipt(receipt));
}

const objects = Array.from({ length: 500 }, (_, index) => ({
  key: `models--org--name/snapshots/c/${index}`,
  digest,
  size: index,
  ...(index % 2 === 0 ? { version: `v${index}` } : {}),
}));

describe('a receipt of many objects', () => {
  it.each<[string, (text: string) => Buffer]>([
    ['a key twice', (text) => Buffer.from(text.replace('"size": 7', '"size": 8, "size": 7'))],
    ['bytes that are no UTF-8', (text) => Buffer.from(text.replace('"v8"', '"\u00ff"'), 'latin1')],
  ])('is refused for %s, read in pieces and whole', (_, change) => {
    const text = textOf(objects).toString();
    const bytes = change(text);
    expect(bytes.toString()).not.toBe(text);
    expect(codeOfCall(() => parseReceipt(bytes, 'receipt'))).toBe('E_CORRUPT');
    expect(codeOfCall(() => parseLongReceipt([bytes], 'receipt'))).toBe('E_CORRUPT');
  });

  it('is read in pieces as it is read whole, and keeps them packed', () => {
    const bytes = textOf(objects);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, index) =>
      bytes.subarray(1000 * index, 1000 * (index + 1)),
    );
    const long = parseLongReceipt(pieces, 'receipt');

    expect(long.models[0]?.objects).toBeInstanceOf(PackedList);
    expect([...(long.models[0]?.objects ?? [])]).toEqual(parseReceipt(bytes, 'receipt').models[0]?.objects);
    expect(formatReceipt(long)).toBe(bytes.toString());
  });

  it.each([
    ['a size that is none', { key: 'a', digest, size: 'x' }],
    ['a digest that is none', { key: 'a', digest: 'sha256:x', size: 1 }],
    ['no key', { digest, size: 1 }],
    ['a key that leads out of its target', { key: '../a', digest, size: 1 }],
    ['no object but a number', 1],
  ])('is refused for %s, wherever it stands', (_, wrong) => {
    const bytes = textOf([...objects, wrong, ...objects]);

    expect(codeOfCall(() => parseLongReceipt([bytes], 'receipt'))).toBe(
      codeOfCall(() => parseReceipt(bytes, 'receipt')),
    );
    expect(codeOfCall(() => parseLongReceipt([bytes], 'receipt'))).toMatch(/^E_(?:CORRUPT|PATH)$/);
  });
});

it('is read of a file, is nothing where there is none, and refused where that is no receipt', async () => {
  await using place = await temporaryDirectory();
  const path = join(place.path, 'receipt.json');
  expect(await readReceipt(path)).toBeUndefined();
  await writeFile(path, textOf(objects));
  expect((await readReceipt(path))?.models[0]?.objects).toHaveLength(500);
  await writeFile(path, '{"schema":');
  expect(await codeOf(readReceipt(path))).toBe('E_CORRUPT');
});
