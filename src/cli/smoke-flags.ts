import type { SmokeOptions } from '../commands/smoke/options.ts';
import { MirrorError } from '../core/errors.ts';
import type { Flag, Subject } from './command-row.ts';
import { collect, junitFlag, list } from './flags.ts';
import { parseCount } from './size.ts';

/** The flags of `smoke`. */
export const smokeFlags: readonly Flag[] = [
  { flags: '--model <id>', text: 'exact id of the model; `bundle:/ORG/NAME` names the SIE bundle too' },
  { flags: '--all <file>', text: 'every model of a receipt or lock instead, `--concurrency` at a time' },
  {
    flags: '--gpu <profile>',
    text: 'machine profile that has to answer, e.g. l4; l4,cpu tries both, pool/l4 names its pool',
  },
  {
    flags: '--worker <url>',
    text: 'ask this worker itself whether it did the work, or with `listed` all that the gateway lists; can be given again',
    parse: collect,
  },
  { flags: '--pool <name>', text: 'pool whose workers have to answer' },
  {
    flags: '--create-pool',
    text: 'make that pool for the time of the test, and remove it; its token is SIE_ADMIN_TOKEN',
  },
  {
    flags: '--output <kind>',
    text: 'form of the vectors, for models that give several (default: the first of them)',
    choices: ['dense', 'sparse', 'multivector'],
  },
  { flags: '--dim <n>', text: 'dimensions that the vector must have', parse: parseCount('--dim', 1) },
  { flags: '--dtype <type>', text: 'number format to ask for: float32, float16, int8, uint8, binary' },
  { flags: '--format <kind>', text: 'how requests are written', choices: ['msgpack', 'json'], fallback: 'msgpack' },
  { flags: '--openai', text: 'ask through /v1/embeddings' },
  { flags: '--score', text: 'the model is a reranker' },
  { flags: '--extract', text: 'the model extracts entities' },
  { flags: '--revision <commit>', text: 'commit of the weights that has to answer, all 40 digits' },
  { flags: '--receipt <file>', text: 'receipt that names that commit' },
  { flags: '--lock <file>', text: 'lock that names that commit' },
  { flags: '--record <file>', text: 'keep the vectors, as a measure for other clusters' },
  { flags: '--golden <file>', text: 'vectors of `--record` that these must agree with' },
  {
    flags: '--tolerance <n>',
    text: 'how far a cosine may be from 1 (default: by number format)',
    parse: parseTolerance,
  },
  {
    flags: '--timeout <seconds>',
    text: 'how long to wait for capacity and loading, for each model',
    parse: parseCount('--timeout', 1),
    fallback: 600,
  },
  junitFlag,
];

const kinds = ['openai', 'score', 'extract'] as const;

/** @throws E_USAGE for flags that exclude each other */
export function smokeOptions(flags: Record<string, unknown>): Omit<SmokeOptions, 'url'> {
  const asked = kinds.filter((kind) => flags[kind] === true);
  if (asked.length > 1) throw exclusive(asked);
  const named = ['receipt', 'lock', 'revision'].filter((name) => flags[name] !== undefined);
  if (named.length > 1) throw exclusive(named);
  const { receipt, lock, worker, openai: _, score: __, extract: ___, ...same } = flags;
  return {
    ...(same as unknown as Omit<SmokeOptions, 'url'>),
    workers: list(worker),
    receipt: (receipt ?? lock) as string | undefined,
    kind: asked[0],
  };
}

/** One model, by the name that it has in the report of a run which ends well. */
export function smokeSubject({ model, all, gpu }: Record<string, unknown>): Subject | undefined {
  if (typeof model !== 'string' || all !== undefined) return undefined;
  if (typeof gpu !== 'string') return { kind: 'model', name: model };
  return gpu.includes(',') ? undefined : { kind: 'model', name: `${model} on ${gpu.replace(/^.*\//, '').trim()}` };
}

function exclusive(names: readonly string[]): MirrorError {
  return new MirrorError('E_USAGE', `${names.map((name) => `\`--${name}\``).join(' and ')} exclude each other`, {
    hint: 'give one of them',
  });
}

function parseTolerance(value: string): number {
  const number = Number(value);
  if (value.trim() !== '' && number >= 0 && number < 1) return number;
  throw new MirrorError('E_USAGE', `\`--tolerance ${value}\`: a number from 0 to below 1 was wanted`, {
    hint: 'such as 0.002',
  });
}
