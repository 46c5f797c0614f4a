import { readFile } from 'node:fs/promises';
import { MirrorError, toMirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { toolName } from '../../core/version.ts';
import { isPacked, type OutputType, outputTypes } from '../../sie/embedding.ts';
import { cosine, norm } from '../../sie/vector.ts';
import { toleranceOf } from './sense.ts';
import type { TrialResult } from './trial.ts';
import { wrong } from './wrong.ts';

const schemaId = 'sie-mirror/golden/v1';

/** Vectors of a model as a cluster gave them that is known to be right. */
export interface GoldenModel {
  model: string;
  revision?: string | undefined;
  dtype: string;
  /** Undefined in records of older versions. */
  output?: OutputType | undefined;
  vectors: { text: string; vector: number[] }[];
}

const vectorSchema = z
  .array(z.number())
  .min(1)
  .refine(
    (vector) => norm(vector) > 0 && Number.isFinite(norm(vector)),
    'is all zeros, or too long for any comparison',
  );

const goldenSchema = z.object({
  schema: z.literal(schemaId),
  models: z.array(
    z.object({
      model: z.string(),
      revision: z.string().optional(),
      dtype: z.string(),
      output: z.enum(outputTypes).optional(),
      vectors: z.array(z.object({ text: z.string(), vector: vectorSchema })).min(1),
    }),
  ),
});

/** @throws E_NOT_FOUND, E_PATH, E_CORRUPT */
export async function readGolden(path: string): Promise<GoldenModel[]> {
  try {
    return validate(goldenSchema, parseJson(await readFile(path), path), path).models;
  } catch (error) {
    const {
      code,
      message,
      hint = 'give the file that `smoke --record FILE` made; copy it again if it was cut off',
    } = toMirrorError(error);
    const named = message.includes(path) ? message : `\`${path}\`: ${message}`;
    throw new MirrorError(code, named, { hint, cause: error });
  }
}

/** The text that `readGolden` reads. */
export function formatGolden(models: readonly GoldenModel[]): string {
  const sorted = [...models].sort((one, other) => (one.model < other.model ? -1 : 1));
  return `${JSON.stringify({ schema: schemaId, tool: toolName, models: sorted })}\n`;
}

/** What `--record` keeps of a trial; nothing of models that give no vectors. */
export function recordOf(model: string, revision: string | undefined, result: TrialResult): GoldenModel | undefined {
  const { vectors, dtype, output } = result;
  return vectors && dtype !== undefined ? { model, revision, dtype, output, vectors } : undefined;
}

/**
 * Compares vectors with recorded ones.
 * @param given how far the cosine may be from 1; by the coarser of both number formats when undefined
 * @returns the lowest cosine
 * @throws E_SMOKE for a model that has no record, other dimensions, another direction or another length
 */
export function compareGolden(
  golden: readonly GoldenModel[],
  model: string,
  result: TrialResult,
  given: number | undefined,
): number {
  const record = golden.find((each) => each.model === model);
  if (!record)
    throw wrong(`no vectors of \`${model}\` are recorded`, 'record them on the online side with `smoke --record FILE`');
  checkForms(record, result);
  const tolerance = given ?? Math.max(toleranceOf(record.dtype), toleranceOf(result.dtype ?? ''));
  const lowest = record.vectors.map(({ text, vector }) => {
    const found = result.vectors?.find((each) => each.text === text)?.vector;
    if (!found)
      throw wrong(`the record has a text that is not asked for: \`${text}\``, 'record again with this version');
    if (found.length !== vector.length)
      throw wrong(`the vector has ${found.length} dimensions, ${vector.length} were recorded`, differs);
    const angle = agreement(found, vector, record.dtype, result.dtype ?? '');
    if (!(1 - angle <= tolerance))
      throw wrong(
        `the vector is not the recorded one: cosine ${angle.toFixed(5)}, at least ${(1 - tolerance).toFixed(5)} was wanted`,
        differs,
      );
    checkLength(norm(found), norm(vector), record.dtype === result.dtype, tolerance);
    return angle;
  });
  return Math.min(...lowest);
}

/** Forms that have nothing in common say nothing of the weights. @throws E_SMOKE */
function checkForms({ output, dtype }: GoldenModel, found: TrialResult): void {
  if (output !== undefined && output !== found.output)
    throw wrong(
      `${output} vectors were recorded, these are ${found.output ?? 'of another form'}`,
      `ask for the same with \`--output ${output}\`, or record these too`,
    );
  if (found.output !== 'dense' && isPacked(dtype) !== isPacked(found.dtype ?? ''))
    throw wrong(
      `\`${dtype}\` was recorded, this is \`${found.dtype ?? ''}\`: tokens of bits compare only with each other`,
      `ask for the same with \`--dtype ${dtype}\`, or record this too`,
    );
}

/**
 * Of bits beside numbers only the signs can be compared. uint8 moves the zero: beside another format only what is left
 * without the mean can.
 */
function agreement(one: readonly number[], other: readonly number[], dtype: string, otherDtype: string): number {
  const moved = dtype !== otherDtype && [dtype, otherDtype].includes('uint8');
  const [left, right] = moved ? [centred(one), centred(other)] : [one, other];
  return isPacked(dtype) === isPacked(otherDtype) ? cosine(left, right) : cosine(signs(left), signs(right));
}

function signs(vector: readonly number[]): number[] {
  return vector.map((value) => (value > 0 ? 1 : -1));
}

function centred(vector: readonly number[]): number[] {
  const mean = vector.reduce((sum, value) => sum + value, 0) / vector.length;
  return vector.map((value) => value - mean);
}

/** Formats scale vectors each in its own way, so lengths compare within one only. */
function checkLength(found: number, recorded: number, comparable: boolean, tolerance: number): void {
  // Turned round, so that what is no number fails.
  if (comparable && !(Math.abs(found / recorded - 1) <= Math.max(0.02, tolerance)))
    throw wrong(`the vector has the length ${found.toFixed(4)}, ${recorded.toFixed(4)} was recorded`, differs);
}

const differs =
  'the revision or the weights are not those that were recorded: compare the commits (`--receipt`), and verify the import';
