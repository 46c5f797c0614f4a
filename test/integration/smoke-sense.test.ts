import { expect, it } from 'vitest';
import { checkSense } from '../../src/commands/smoke/sense.ts';
import type { Embedding } from '../../src/sie/embedding.ts';
import { defaultVector } from '../support/sie-cluster.ts';
import { codeOfCall } from '../support/failures.ts';
import { smokeFails, smokeModel as model, smokePasses } from '../support/smoke.ts';

const four = (...vectors: number[][]): Embedding[] => vectors.map((vector) => ({ vector, dtype: 'float64' }));

it('numbers that are another each time are no vectors, however large they are', async () => {
  let seed = 0;
  const vector = (): number[] => Array.from({ length: 64 }, () => Math.sin((seed += 1)) * 1e200);
  const error = await smokeFails({ models: { [model]: { dim: 64, dtype: '<f8', vector } } });
  expect(error).toMatchObject({ code: 'E_SMOKE', exit: 9 });
});

it('large numbers that relate as texts do are vectors', async () => {
  const vector = (text: string): number[] => defaultVector(model, text, 64).map((value) => value * 1e200);
  const report = await smokePasses({ models: { [model]: { dim: 64, dtype: '<f8', vector } } });
  expect(report.items[0]?.detail).toMatchObject({ normalized: false, similar: expect.any(Number) as number });
});

it.each([
  ['the same text', four([1, 2], [Number.NaN, 2], [1, 2.1], [2, 1])],
  ['a similar text', four([1, 2], [1, 2], [Number.NaN, 2], [2, 1])],
  ['an unrelated text', four([1, 2], [1, 2], [1, 2.1], [0, 0])],
  ['a length', four([1.7e308, 1.7e308], [1.7e308, 1.7e308], [1.7e308, 1.6e308], [1.7e308, 0])],
])('%s that gives no number fails', (_, embeddings) => {
  expect(codeOfCall(() => checkSense(embeddings))).toBe('E_SMOKE');
});
