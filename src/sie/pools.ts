import * as z from '../core/zod.ts';

/** A pool as `/v1/pools` tells of it. */
export interface SiePool {
  name: string;
  /** `pending`, `active`, `expired`. */
  state: string;
  /** Names of the workers that serve it. */
  workers: string[];
}

const poolSchema = z.looseObject({
  spec: z.looseObject({ name: z.string() }),
  status: z
    .looseObject({
      state: z.string().nullish(),
      assigned_workers: z.array(z.looseObject({ name: z.string() })).default([]),
    })
    .nullish(),
});

/** A pool; undefined when it is no such document. */
export function parsePool(document: unknown): SiePool | undefined {
  const pool = poolSchema.safeParse(document);
  if (!pool.success) return undefined;
  const { spec, status } = pool.data;
  return {
    name: spec.name,
    state: status?.state ?? 'unknown',
    workers: (status?.assigned_workers ?? []).map((worker) => worker.name),
  };
}

/** Names of pools and of nothing else may stand in an address and a header. */
export function isPoolName(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,62}$/.test(name);
}
