import { MirrorError } from '../core/errors.ts';
import * as z from '../core/zod.ts';
import { checkCount, checkVector, mostNumbers } from './vector.ts';

/** Forms of an embedding that SIE's models give. */
export const outputTypes = ['dense', 'sparse', 'multivector'] as const;
export type OutputType = (typeof outputTypes)[number];

export interface Embedding {
  /** What can be compared: a multivector as the mean of its tokens, a sparse one with its zeros, packed bits as 1 and -1. */
  vector: number[];
  /** Announced with it: `float32`, `int8`, `binary`. */
  dtype: string;
}

const number = z.number().nullish();
const dtype = z.string().default('float32');
const denseSchema = z.looseObject({ dims: number, dtype, values: z.unknown() });
const sparseSchema = z.looseObject({ dims: number, dtype, indices: z.array(z.number()), values: z.array(z.number()) });
const multivectorSchema = z.looseObject({
  token_dims: z.number().int().positive(),
  dtype,
  values: z.array(z.unknown()),
});
const openaiSchema = z.looseObject({ data: z.array(z.looseObject({ embedding: z.unknown() })).min(1) });

/**
 * The embedding of the first item of an answer to `/v1/encode`.
 * @param wanted dimensions that it must have
 * @throws E_SMOKE
 */
export function readEmbedding(document: unknown, output: OutputType, wanted: number | undefined): Embedding {
  const part = partOf(document, output);
  if (output === 'sparse') return sparse(part, wanted);
  if (output === 'multivector') return multivector(part, wanted);
  const dense = denseSchema.safeParse(part);
  if (!dense.success) throw none(output);
  const { dtype: type, dims, values } = dense.data;
  const unpacked = isPacked(type) ? bits(values, dims ?? undefined) : values;
  return { vector: checkVector(unpacked, dims ?? undefined, wanted), dtype: type };
}

/** Whether an answer to `/v1/encode` has an embedding of this form, be it a good one or not. */
export function hasForm(document: unknown, output: OutputType): boolean {
  return partOf(document, output) !== undefined;
}

function partOf(document: unknown, output: OutputType): unknown {
  const items = (document as { items?: unknown } | null)?.items;
  const item: unknown = Array.isArray(items) ? items[0] : undefined;
  return (item as Record<string, unknown> | null | undefined)?.[output];
}

/** The embedding in an answer to `/v1/embeddings`. https://platform.openai.com/docs/api-reference/embeddings @throws E_SMOKE */
export function readOpenai(document: unknown, wanted: number | undefined): Embedding {
  const answer = openaiSchema.safeParse(document);
  if (!answer.success) throw none('dense');
  return { vector: checkVector(answer.data.data[0]?.embedding, undefined, wanted), dtype: 'float32' };
}

function none(output: OutputType): MirrorError {
  return new MirrorError('E_SMOKE', `the answer has no ${output} vector`, {
    hint: 'see `GET /v1/models` for what the model gives; `--score` and `--extract` ask models of another kind',
  });
}

/** Its dimensions are the vocabulary, which not every model tells. */
function sparse(part: unknown, wanted: number | undefined): Embedding {
  const found = sparseSchema.safeParse(part);
  if (!found.success) throw none('sparse');
  const { dims, indices, values, dtype: type } = found.data;
  const end = dims ?? mostNumbers;
  checkCount(end);
  if (
    indices.length !== values.length ||
    indices.some((index) => !Number.isInteger(index) || index < 0 || index >= end)
  )
    throw new MirrorError('E_SMOKE', 'the sparse vector has indices that do not fit its values or its dimensions', {
      hint: 'the tokenizer is that of another model: verify the import',
    });
  if (wanted !== undefined && typeof dims === 'number' && dims !== wanted)
    throw new MirrorError('E_SMOKE', `the vector has ${dims} dimensions, ${wanted} were wanted`, {
      hint: 'check that `--model` and `--dim` belong together',
    });
  const weights = checkVector(values, undefined, undefined);
  const vector = Array.from({ length: indices.reduce((most, index) => Math.max(most, index), 0) + 1 }, () => 0);
  for (const [place, index] of indices.entries()) vector[index] = weights[place] ?? 0;
  return { vector, dtype: type };
}

function multivector(part: unknown, wanted: number | undefined): Embedding {
  const found = multivectorSchema.safeParse(part);
  if (!found.success) throw none('multivector');
  const { token_dims: dims, dtype: type } = found.data;
  const flat = found.data.values.flat();
  checkCount(isPacked(type) ? flat.length * 8 : flat.length);
  const values = checkVector(isPacked(type) ? packedTokens(flat, dims) : flat, undefined, undefined);
  if (values.length % dims !== 0)
    throw new MirrorError('E_SMOKE', `the multivector has ${values.length} numbers, which are no tokens of ${dims}`);
  const tokens = values.length / dims;
  const vector = Array.from({ length: dims }, () => 0);
  for (const [place, value] of values.entries()) vector[place % dims] = (vector[place % dims] ?? 0) + value / tokens;
  return { vector: checkVector(vector, dims, wanted), dtype: type };
}

/** Each token begins with a byte of its own. */
function packedTokens(values: readonly unknown[], dims: number): number[] | undefined {
  const size = Math.ceil(dims / 8);
  const tokens = Array.from({ length: Math.ceil(values.length / size) }, (_, token) =>
    bits(values.slice(token * size, (token + 1) * size), dims),
  );
  return tokens.every((token) => token !== undefined) ? tokens.flat() : undefined;
}

/** Whether a number format has one bit for a dimension. */
export function isPacked(type: string): boolean {
  return type === 'binary' || type === 'ubinary';
}

/** Eight dimensions in a byte, the highest bit first, as numpy.packbits has them. */
function bits(values: unknown, dims: number | undefined): number[] | undefined {
  if (!Array.isArray(values) || !values.every((value) => Number.isInteger(value))) return undefined;
  checkCount(values.length * 8);
  const all = (values as number[]).flatMap((byte) =>
    Array.from({ length: 8 }, (_, place) => ((byte >> (7 - place)) & 1) * 2 - 1),
  );
  // The last byte is filled up with zeros.
  return dims !== undefined && dims > all.length - 8 && dims < all.length ? all.slice(0, dims) : all;
}
