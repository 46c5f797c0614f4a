import * as z from '../core/zod.ts';

/** A model as `GET /v1/models` lists it; what a release does not say is undefined. */
export interface SieModel {
  id: string;
  /** `dense`, `sparse`, `multivector`, `score`, ... */
  outputs: string[];
  loaded: boolean | undefined;
  /** `available`, `loading`, `loaded`, `unloading`, `failed`: of a worker, and of gateways of newer releases. */
  state: string | undefined;
  /** Why it did not load. */
  lastError: { errorClass: string; message: string } | undefined;
  /** Commit of the weights. */
  revision: string | undefined;
  /** Other ids that the gateway takes for it. */
  aliases: string[];
  /** Ids of the processes that have it, as a worker of newer releases tells of itself; answers name theirs. */
  processes: string[];
}

const text = z.string().nullish().catch(undefined);
const modelSchema = z.looseObject({
  name: text,
  id: text,
  sie_id: text,
  outputs: z.array(z.string()).default([]).catch([]),
  loaded: z.boolean().nullish().catch(undefined),
  state: text,
  last_error: z
    .union([z.string(), z.looseObject({ code: text, message: text })])
    .nullish()
    .catch(undefined),
  revision: text,
  aliases: z.array(z.string()).default([]).catch([]),
  profiles: z
    .record(z.string(), z.looseObject({ runtime_instance_id: text }))
    .default({})
    .catch({}),
});
const listSchema = z.union([
  z.array(z.unknown()),
  z.looseObject({ models: z.array(z.unknown()) }).transform(({ models }) => models),
  z.looseObject({ data: z.array(z.unknown()) }).transform(({ data }) => data),
]);

/** `GET /v1/models`; undefined when it is no such document. */
export function parseModels(document: unknown): SieModel[] | undefined {
  const list = listSchema.safeParse(document);
  return list.success ? list.data.flatMap((row) => parseModel(row) ?? []) : undefined;
}

/** One row of it, or the answer of `GET /v1/models/{model}`. */
export function parseModel(row: unknown): SieModel | undefined {
  const found = modelSchema.safeParse(typeof row === 'string' ? { name: row } : row);
  if (!found.success) return undefined;
  const { name, id, sie_id: sieId, outputs, loaded, state, last_error: last, revision, aliases } = found.data;
  const known = name ?? id ?? sieId;
  if (known === undefined || known === null) return undefined;
  const lastError =
    typeof last === 'string'
      ? { errorClass: 'UNKNOWN', message: last }
      : last && { errorClass: last.code ?? 'UNKNOWN', message: last.message ?? '' };
  const processes = Object.values(found.data.profiles).flatMap((profile) => profile.runtime_instance_id ?? []);
  return {
    id: known,
    outputs,
    loaded: loaded ?? undefined,
    state: state ?? undefined,
    lastError: lastError ?? undefined,
    revision: revision ?? undefined,
    aliases,
    processes: [...new Set(processes)],
  };
}

/** A model without the SIE bundle that may stand before it: `default:/BAAI/bge-m3`. */
export function plainModelId(model: string): string {
  return model.replace(/^[\w.-]+:\//, '');
}
