import type { OutputType } from './embedding.ts';

/** One request for work, as SIE's own client makes it. */
export interface SieCall {
  path: string;
  model: string;
  body: unknown;
  /** Knows no msgpack. */
  jsonOnly?: boolean;
}

/** @param dtype number format wanted: `float16`, `int8`, `binary`, ...; that of the model when undefined */
export function encodeCall(model: string, text: string, output: OutputType, dtype: string | undefined): SieCall {
  const params = { output_types: [output], ...(dtype === undefined ? {} : { output_dtype: dtype }) };
  return { path: `/v1/encode/${model}`, model, body: { items: [{ text }], params } };
}

/** https://platform.openai.com/docs/api-reference/embeddings */
export function openaiCall(model: string, text: string): SieCall {
  return { path: '/v1/embeddings', model, body: { model, input: text, encoding_format: 'float' }, jsonOnly: true };
}

/** @param texts each gets its place as id */
export function scoreCall(model: string, query: string, texts: readonly string[]): SieCall {
  const items = texts.map((text, index) => ({ id: String(index), text }));
  return { path: `/v1/score/${model}`, model, body: { query: { text: query }, items } };
}

/** @param labels kinds of entities that are looked for */
export function extractCall(model: string, text: string, labels: readonly string[]): SieCall {
  return { path: `/v1/extract/${model}`, model, body: { items: [{ text }], params: { labels } } };
}
