import { expect, it } from 'vitest';
import { isShardIndex, missingShards } from '../../../src/hub/safety/shards.ts';

const index = (...names: unknown[]): string =>
  JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(names.map((name, key) => [`layer.${key}`, name])) });

it.each<[string, string, string[], string[]]>([
  ['all are there', index('a', 'b', 'a'), ['a', 'b', 'c'], []],
  ['one is not there', index('a', 'b', 'c', 'b'), ['a', 'c'], ['b']],
  ['none was wanted', index('a', 'b'), ['tokenizer.json'], []],
  ['what is named is no text', index('a', 1, null), ['a'], []],
  ['there is no map', '{"weight_map":["a"]}', ['b'], []],
  ['it is no JSON', '{', ['a'], []],
])('of the shards that an index names those that are missing are told: %s', (_, text, paths, missing) => {
  expect(missingShards('model.safetensors.index.json', text, new Set(paths))).toEqual(missing);
});

it('shards stand beside their index', () => {
  const paths = new Set(['unet/a', 'b']);
  expect(missingShards('unet/x.safetensors.index.json', index('a', 'b'), paths)).toEqual(['unet/b']);
});

it.each([
  ['model.safetensors.index.json', true],
  ['text_encoder/model.fp16.safetensors.index.json', true],
  ['pytorch_model.bin.index.json', true],
  ['index.json', false],
  ['model.safetensors', false],
])('%s is the index of shards: %s', (path, expected) => {
  expect(isShardIndex(path)).toBe(expected);
});
