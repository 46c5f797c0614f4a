import type { IncomingMessage } from 'node:http';
import { decode, encode } from '@msgpack/msgpack';
import { defaultVector } from './sie-cluster.ts';
import type { Dtype, EncodedItem } from './sie-wire.ts';

/** What a request asks for, by its path. */
export type WorkKind = 'encode' | 'score' | 'extract' | 'embeddings';

/** The body of a request for work. */
export interface Asked {
  items: { id?: string; text: string }[];
  query?: { text: string };
  labels?: string[];
  dtype?: Dtype;
  output?: EncodedItem['output'];
}

const DTYPES: Record<string, Dtype> = {
  float32: '<f4',
  float16: '<f2',
  int8: '|i1',
  uint8: '|u1',
  binary: 'binary',
};
const MSGPACK = /^application\/(?:x-)?msgpack/;

/** Undefined for a body that the real one refuses with 400. */
export function readAsked(kind: WorkKind, request: IncomingMessage, body: Buffer): Asked | undefined {
  try {
    const isMsgpack = MSGPACK.test(request.headers['content-type'] ?? '');
    const value = (isMsgpack ? decode(body) : JSON.parse(body.toString())) as Record<string, unknown>;
    const { params = {} } = value as {
      params?: { output_dtype?: string; output_types?: EncodedItem['output'][]; labels?: string[] };
    };
    const texts = [value['input']].flat().map((text) => ({ text }));
    const items = kind === 'embeddings' ? texts : value['items'];
    if (!Array.isArray(items) || items.length === 0 || !items.every(hasText)) return undefined;
    const asked: Asked = { items };
    if (kind === 'score') {
      if (!hasText(value['query'])) return undefined;
      asked.query = value['query'];
    }
    if (params.labels) asked.labels = params.labels;
    const [output, ...others] = params.output_types ?? [];
    // What smoke never asks for is not played.
    if (others.length > 0) return undefined;
    if (output !== undefined) asked.output = output;
    if (params.output_dtype === undefined) return asked;
    const dtype = DTYPES[params.output_dtype];
    return dtype && { ...asked, dtype };
  } catch {
    return undefined;
  }
}

function hasText(value: unknown): value is { text: string } {
  return typeof (value as { text?: unknown } | null)?.text === 'string';
}

/** The model that a request for `/v1/embeddings` names. */
export function openaiModel(body: Buffer): string {
  try {
    return (JSON.parse(body.toString()) as { model?: string }).model ?? '';
  } catch {
    return '';
  }
}

/** An answer to `/v1/score`: the more words a text shares with the query, the higher. */
export function scoreAnswer(model: string, asked: Asked, wrong: boolean): unknown {
  const words = new Set(wordsOf(asked.query?.text ?? ''));
  const scores = asked.items
    .map(({ id, text }, index) => {
      const shared = wordsOf(text).filter((word) => words.has(word)).length;
      return { item_id: id ?? `item-${index}`, score: wrong ? -shared : shared / (words.size + 1) };
    })
    .sort((one, other) => other.score - one.score);
  return { model, scores: scores.map((entry, rank) => ({ ...entry, rank })) };
}

/** An answer to `/v1/extract`: each run of capitalised words is an entity of the first label. */
export function extractAnswer(model: string, asked: Asked, wrong: boolean): unknown {
  const items = asked.items.map(({ id, text }) => {
    const found = wrong ? [] : [...text.matchAll(/[A-Z]\w+(?: [A-Z]\w+)*/g)];
    const entities = found.map(({ 0: name, index }) => ({
      text: name,
      label: asked.labels?.[0] ?? 'thing',
      score: 0.9,
      start: index,
      end: index + name.length,
    }));
    return { id: id ?? 'item-0', entities, relations: [], classifications: [], objects: [] };
  });
  return { model, items };
}

/** An answer to `/v1/embeddings`. */
export function openaiAnswer(model: string, asked: Asked, vector: (text: string) => number[]): unknown {
  const data = asked.items.map(({ text }, index) => ({ object: 'embedding', embedding: vector(text), index }));
  return { object: 'list', data, model, usage: { prompt_tokens: 1, total_tokens: 1 } };
}

/** The vector of a model for a text when the test names none. */
export function vectorOf(id: string, text: string, dim: number, noise: number): number[] {
  const vector = defaultVector(id, text, dim);
  return noise === 0 ? vector : vector.with(0, (vector[0] ?? 0) + noise);
}

/** The embedding of one text in the form that was asked for. */
export function encodedItem(
  { output = 'dense' }: Asked,
  dtype: Dtype,
  text: string,
  vector: (text: string) => number[],
): EncodedItem {
  if (output === 'multivector') {
    const tokens = wordsOf(text).map((word) => vector(word));
    return { output, dtype, dims: tokens[0]?.length ?? 0, values: tokens.flat() };
  }
  const values = vector(text);
  if (output === 'dense') return { output, dtype, dims: values.length, values };
  const indices = values.flatMap((value, index) => (value > 0 ? [index] : []));
  return { output, dtype, dims: values.length, indices, values: indices.map((index) => values[index] ?? 0) };
}

export function toMsgpack(value: unknown): Buffer {
  return Buffer.from(encode(value));
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/\w+/g) ?? [];
}
