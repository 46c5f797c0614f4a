import type { Descriptor } from '../../core/descriptor.ts';
import { type Digest, isDigest } from '../../core/digest.ts';
import { digestSchema, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { refNameAnnotation } from '../types.ts';

/** Where containerd, and with it docker save and buildx, keep the whole reference: their ref.name is the bare tag. */
const containerdName = 'io.containerd.image.name';

/** Loose: what others wrote into index.json has to survive our writing it. */
const indexSchema = z.looseObject({
  schemaVersion: z.literal(2),
  manifests: z
    .array(
      z.looseObject({
        mediaType: z.string(),
        digest: digestSchema,
        size: z.number().int().nonnegative(),
        artifactType: z.string().optional(),
        annotations: z.record(z.string(), z.string()).nullish(),
      }),
    )
    .nullable()
    // Go writes an empty list so.
    .transform((manifests) => manifests ?? []),
});

/** https://github.com/opencontainers/image-spec/blob/main/image-layout.md#indexjson-file */
export type LayoutIndex = z.infer<typeof indexSchema>;
export type LayoutEntry = LayoutIndex['manifests'][number];

/** What is to be entered; without a name it is found by its digest, and by what it refers to. */
export interface NewEntry {
  descriptor: Descriptor;
  name?: string;
}

/** @throws E_CORRUPT */
export function parseLayoutIndex(value: unknown, where: string): LayoutIndex {
  return validate(indexSchema, value, where);
}

/** The names of an entry, the one that says most first. */
export function namesOf({ annotations }: LayoutEntry): string[] {
  const name = annotations?.[refNameAnnotation];
  const whole = annotations?.[containerdName];
  const names = [whole, name].filter((each) => each !== undefined && each !== '') as string[];
  return [...new Set(names)];
}

/** What our own and most tools mean by a name comes before what containerd means by it. */
export function findNamed(entries: readonly LayoutEntry[], name: string): LayoutEntry | undefined {
  return (
    entries.find(({ annotations }) => annotations?.[refNameAnnotation] === name) ??
    entries.find(({ annotations }) => annotations?.[containerdName] === name)
  );
}

/** An entry without what belongs to its place in index.json. */
export function bare({ mediaType, digest, size, artifactType }: LayoutEntry): Descriptor {
  return artifactType === undefined ? { mediaType, digest, size } : { mediaType, digest, size, artifactType };
}

/**
 * The entries with new ones among them: a name that something else had moves over, what is there already stays as it
 * is.
 * @returns undefined when nothing has to change
 */
export function withEntries(entries: readonly LayoutEntry[], added: readonly NewEntry[]): LayoutEntry[] | undefined {
  const digests = new Set<Digest>(entries.map(({ digest }) => digest));
  const moved = new Map<string, LayoutEntry>();
  const fresh: LayoutEntry[] = [];
  const named = new Map(
    entries.flatMap((entry) => {
      const name = entry.annotations?.[refNameAnnotation];
      return name === undefined ? [] : [[name, entry] as const];
    }),
  );
  for (const { descriptor, name } of added) {
    const { mediaType, digest, size, artifactType } = descriptor;
    const entry: LayoutEntry = { mediaType, digest, size, ...(artifactType === undefined ? {} : { artifactType }) };
    if (name === undefined && !digests.has(digest)) fresh.push(entry);
    else if (name !== undefined) {
      if (named.get(name)?.digest === digest) moved.delete(name);
      else moved.set(name, { ...entry, annotations: { [refNameAnnotation]: name } });
    }
    digests.add(digest);
  }
  if (moved.size + fresh.length === 0) return undefined;
  const kept = entries.filter(({ annotations }) => !moved.has(annotations?.[refNameAnnotation] ?? ''));
  return [...kept, ...fresh, ...moved.values()];
}

/** Splits what `formatReference` joined; names that others wrote may be bare tags. */
export function splitName(name: string): { repository: string; reference: string } {
  const at = name.indexOf('@');
  if (at > 0) return { repository: name.slice(0, at).replace(/:[^/:]*$/, ''), reference: name.slice(at + 1) };
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  return colon < 0 || isDigest(name)
    ? { repository: '', reference: name }
    : { repository: name.slice(0, colon), reference: name.slice(colon + 1) };
}
