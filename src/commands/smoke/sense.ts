import { MirrorError } from '../../core/errors.ts';
import type { Embedding } from '../../sie/embedding.ts';
import { cosine, norm } from '../../sie/vector.ts';
import { wrong } from './wrong.ts';

/** How far the cosine of equal things may be from 1, by the number format that an answer announces. */
const tolerances: Record<string, number> = {
  float64: 0.001,
  float32: 0.001,
  float16: 0.002,
  bfloat16: 0.004,
  int8: 0.01,
  uint8: 0.01,
  binary: 0.04,
  ubinary: 0.04,
};

/** How far the cosine of two vectors of the same text may be from 1, by their number format. */
export function toleranceOf(dtype: string): number {
  return tolerances[dtype] ?? 0.001;
}

/** Whether a format keeps the length of a vector: what is scaled to whole numbers does not. */
function keepsLength(dtype: string): boolean {
  return /float/.test(dtype);
}

export interface Sense {
  norm: number;
  normalized: boolean;
  similar: number;
  unrelated: number;
}

/**
 * Whether vectors of a text, the same text, a similar and an unrelated one relate as texts do.
 * @throws E_SMOKE, E_INTERNAL for any other number of them
 */
export function checkSense(embeddings: readonly Embedding[]): Sense {
  const [first, again, near, far] = embeddings;
  if (!first || !again || !near || !far) throw new MirrorError('E_INTERNAL', 'four embeddings were wanted');
  const tolerance = toleranceOf(first.dtype);
  const same = cosine(first.vector, again.vector);
  const similar = cosine(first.vector, near.vector);
  const unrelated = cosine(first.vector, far.vector);
  // Written so that what is no number fails.
  if (!(1 - same <= tolerance))
    throw wrong(
      `the same text gave two vectors (cosine ${same.toFixed(5)})`,
      'workers of different revisions or number formats answer: see that all pods of the pool run the same release and read the same weights',
    );
  if (first.vector.length === far.vector.length && first.vector.every((value, place) => value === far.vector[place]))
    throw wrong(
      'two different texts gave the same vector',
      'the model does not read the text: its tokenizer is damaged or missing; verify the import',
    );
  if (!(similar > unrelated))
    throw wrong(
      `a similar text is no closer than an unrelated one (cosine ${similar.toFixed(4)}, ${unrelated.toFixed(4)})`,
      'the weights are damaged or not those of this model: verify the import, and compare with `--golden`',
    );
  return { ...checkNorms(embeddings), similar, unrelated };
}

/** A model that normalises does so for every text. @throws E_SMOKE */
function checkNorms(embeddings: readonly Embedding[]): Pick<Sense, 'norm' | 'normalized'> {
  const norms = embeddings.map(({ vector }) => norm(vector));
  const [length = 0] = norms;
  if (!norms.every((each) => Number.isFinite(each)))
    throw wrong(
      'the vectors are too long for their length to be a number',
      'the weights are damaged or of the wrong type for this GPU: verify the import and see the logs of the worker',
    );
  const units = norms.filter((each) => Math.abs(each - 1) <= 0.01).length;
  if (units > 0 && units < norms.length && keepsLength(embeddings[0]?.dtype ?? ''))
    throw wrong(
      `some vectors have the length 1 and others not: ${norms.map((each) => each.toFixed(3)).join(', ')}`,
      'workers with different settings answer: see the model configuration of the release',
    );
  return { norm: length, normalized: units === norms.length };
}
