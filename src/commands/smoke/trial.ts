import * as z from '../../core/zod.ts';
import { encodeCall, extractCall, openaiCall, scoreCall, type SieCall } from '../../sie/calls.ts';
import {
  type Embedding,
  hasForm,
  type OutputType,
  outputTypes,
  readEmbedding,
  readOpenai,
} from '../../sie/embedding.ts';
import { plainModelId, type SieModel } from '../../sie/models.ts';
import type { SmokeOptions } from './options.ts';
import { checkSense } from './sense.ts';
import { wrong } from './wrong.ts';

/** What came out of a trial. */
export interface TrialResult {
  /** For people: `dense vectors of 1024 dimensions`. */
  text: string;
  detail: Record<string, unknown>;
  /** For embeddings: each text with its vector. */
  vectors?: { text: string; vector: number[] }[];
  dtype?: string;
  output?: OutputType;
}

/** The requests that show whether a model works, and what their answers must be. */
export interface Trial {
  calls: [SieCall, ...SieCall[]];
  /** Whether an answer is of the kind that was asked for, be it right or wrong. */
  fits(document: unknown): boolean;
  /** @param documents the answers, in the order of the calls @throws E_SMOKE */
  judge(documents: readonly unknown[]): TrialResult;
}

/** The first two are the same text, the third means the same, the fourth does not. */
const trialTexts = [
  'hello world, the cat sits on the mat',
  'hello world, the cat sits on the mat',
  'hello world, a cat is sitting on the mat',
  'interest rates rose by half a percent in March',
] as const;

type TrialOptions = Pick<SmokeOptions, 'kind' | 'output' | 'dim' | 'dtype'> & { model: string };

/**
 * The trial of a model; several, of which the first that it does not refuse holds, where nothing says what it does.
 * @param known the model as the cluster lists it: gateways of 0.3 do not tell what it gives @throws E_SMOKE
 */
export function trialsFor(options: TrialOptions, { outputs }: Pick<SieModel, 'outputs'>): Trial[] {
  const { kind, model, output, dim } = options;
  if (kind === 'score') return [scoreTrial(model)];
  if (kind === 'extract') return [extractTrial(model)];
  if (output !== undefined && outputs.length > 0 && !outputs.includes(output))
    throw wrong(`the model gives no ${output} vectors`, `it gives ${outputs.join(', ')}: leave out \`--output\``);
  const embeddings = output === undefined ? outputTypes : [output];
  if (outputs.length === 0) {
    const some = kind === 'openai' ? embeddings.slice(0, 1) : embeddings;
    const forms = some.map((each) => embeddingTrial(options, each));
    const isAny = kind === undefined && output === undefined && dim === undefined;
    return isAny ? [...forms, scoreTrial(model), extractTrial(model)] : forms;
  }
  const given = embeddings.find((type) => outputs.includes(type));
  if (given !== undefined || kind !== undefined) return [embeddingTrial(options, given ?? 'dense')];
  if (dim !== undefined)
    throw wrong(
      `the model gives no vectors, ${dim} dimensions were wanted`,
      `it gives ${outputs.join(', ')}: leave out \`--dim\``,
    );
  return [outputs.includes('score') ? scoreTrial(model) : extractTrial(model)];
}

function embeddingTrial({ kind, model, dim, dtype }: TrialOptions, output: OutputType): Trial {
  const id = plainModelId(model);
  const read = (document: unknown): Embedding =>
    kind === 'openai' ? readOpenai(document, dim) : readEmbedding(document, output, dim);
  const call = (text: string): SieCall =>
    kind === 'openai' ? openaiCall(id, text) : encodeCall(model, text, output, dtype);
  const [first, ...others] = trialTexts;
  return {
    calls: [call(first), ...others.map(call)],
    fits: (document) => kind === 'openai' || hasForm(document, output),
    judge: (documents) => {
      const found = documents.map(read);
      const sense = checkSense(found);
      const vectors = trialTexts.flatMap((text, index) => {
        const vector = found[index]?.vector;
        return index === 1 || vector === undefined ? [] : [{ text, vector }];
      });
      const first = found[0] as Embedding;
      const dims = first.vector.length;
      return {
        text: `${output} vectors of ${dims} dimensions`,
        detail: { output, dims, dtype: first.dtype, first: first.vector.slice(0, 4), ...sense },
        vectors,
        dtype: first.dtype,
        output,
      };
    },
  };
}

const scoreSchema = z.looseObject({
  scores: z.array(z.looseObject({ item_id: z.string(), score: z.number() })),
});

/** A text that answers the question must score higher than one that does not. */
function scoreTrial(model: string): Trial {
  const call = scoreCall(model, 'where does the cat sit?', ['the cat sits on the mat', trialTexts[3]]);
  return {
    calls: [call, call],
    fits: (document) => scoreSchema.safeParse(document).success,
    judge: (documents) => {
      const scores = documents.map((document) => {
        const found = scoreSchema.safeParse(document);
        const score = (id: string): number | undefined =>
          found.success ? found.data.scores.find((each) => each.item_id === id)?.score : undefined;
        const [fitting, other] = [score('0'), score('1')];
        if (fitting === undefined || other === undefined || !Number.isFinite(fitting + other))
          throw wrong(
            'the answer has no score for each of the texts',
            'leave out `--score` if the model is no reranker',
          );
        if (fitting <= other)
          throw wrong(
            `the text that answers the question scores ${fitting}, one that does not scores ${other}`,
            'the weights are damaged or of another model: verify the import',
          );
        return fitting;
      });
      const [first = 0, second = 0] = scores;
      if (Math.abs(first - second) > 0.01 * Math.max(1, Math.abs(first)))
        throw wrong(
          `the same text scores ${first} and then ${second}`,
          'workers of different revisions or number formats answer',
        );
      return { text: 'scores', detail: { output: 'score', score: first } };
    },
  };
}

const confidence = z.number().refine(Number.isFinite);
const extractSchema = z.looseObject({
  items: z
    .array(
      z.looseObject({
        entities: z.array(z.looseObject({ text: z.string(), label: z.string(), score: confidence })).default([]),
        relations: z.array(z.unknown()).default([]),
        classifications: z.array(z.looseObject({ label: z.string(), score: confidence })).default([]),
        objects: z.array(z.unknown()).default([]),
        data: z.record(z.string(), z.unknown()).nullish(),
      }),
    )
    .min(1),
});

const sentence = 'Marie Curie worked at the University of Paris.';
const labels = ['person', 'organization', 'location'];

function extractTrial(model: string): Trial {
  const call = extractCall(model, sentence, labels);
  return {
    calls: [call, call],
    fits: (document) => extractSchema.safeParse(document).success,
    judge: (documents) => {
      const found = documents.map((document) => {
        const answer = extractSchema.safeParse(document);
        const item = answer.success ? answer.data.items[0] : undefined;
        if (!item) throw wrong('the answer has nothing extracted', 'leave out `--extract` if the model does not do it');
        const { entities, relations, classifications, objects, data } = item;
        const parts = entities.length + relations.length + classifications.length + objects.length;
        if (parts + Object.keys(data ?? {}).length === 0)
          throw wrong(
            `nothing was found in "${sentence}"`,
            'the weights or a companion of the model are damaged: verify the import',
          );
        const foreign = entities.find(({ text }) => !sentence.toLowerCase().includes(text.toLowerCase()));
        if (foreign)
          throw wrong(
            `an entity was found that the text does not have: \`${foreign.text}\``,
            'the tokenizer is that of another model: verify the import',
          );
        return entities.map(({ text, label }) => ({ text, label }));
      });
      if (JSON.stringify(found[0]) !== JSON.stringify(found[1]))
        throw wrong('the same text gave two answers', 'workers of different revisions answer');
      return {
        text: `extracted ${found[0]?.length ?? 0} entities`,
        detail: { output: 'extract', entities: found[0] ?? [] },
      };
    },
  };
}
