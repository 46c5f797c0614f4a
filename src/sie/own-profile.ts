import * as z from '../core/zod.ts';

/** No worker is of it, so each refuses a request for it before it looks at anything else, and names its own. */
export const nobodysProfile = 'of-nobody';

const refusalSchema = z.looseObject({ detail: z.looseObject({ worker_identity: z.string().nullable() }) });

/** The machine profile that a worker named in its refusal; empty when it has none, undefined when it named nothing. */
export function readOwnProfile(answer: string): string | undefined {
  try {
    const refusal = refusalSchema.safeParse(JSON.parse(answer));
    return refusal.success ? (refusal.data.detail.worker_identity ?? '') : undefined;
  } catch {
    return undefined;
  }
}
