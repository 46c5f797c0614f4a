import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { OutputType } from '../../sie/embedding.ts';
import { checkAddress } from '../places/address.ts';
import type { Clock } from './patience.ts';
import { checkPoolName } from './pool.ts';
import { listedWorkers } from './watch.ts';

export interface SmokeOptions {
  url: string;
  /** Exact id, maybe with a SIE bundle before it: `default:/BAAI/bge-m3`. */
  model?: string | undefined;
  /** Receipt or lock: every model of it instead of one. */
  all?: string | undefined;
  /** What to ask for; by the model's outputs when undefined. */
  kind?: 'encode' | 'openai' | 'score' | 'extract' | undefined;
  /** Machine profiles that have to answer, with commas between them: `l4`, or with its pool `pool/l4`. */
  gpu?: string | undefined;
  /** Addresses of workers that are asked themselves what they did, or `listed` for those that the gateway lists. */
  workers: readonly string[];
  pool?: string | undefined;
  /** Makes the pool, and removes it at the end. */
  createPool?: boolean | undefined;
  /** Form of the embedding; the first that the model gives when undefined. */
  output?: OutputType | undefined;
  /** Dimensions that the vector must have. */
  dim?: number | undefined;
  /** Number format of the vectors. */
  dtype?: string | undefined;
  /** How requests are written. */
  format: 'msgpack' | 'json';
  /** In seconds, for each model. */
  timeout: number;
  /** What `timeout` is measured by. */
  clock?: Clock | undefined;
  /** Commit of the weights that must answer. */
  revision?: string | undefined;
  /** Receipt or lock that names it. */
  receipt?: string | undefined;
  /** File to keep the vectors in. */
  record?: string | undefined;
  /** File with vectors that these must agree with. */
  golden?: string | undefined;
  /** How far the cosine may be from 1. */
  tolerance?: number | undefined;
}

/** The machine profiles and the pool that were named. @throws E_USAGE for what makes no sense, or not together */
export function checkOptions(options: SmokeOptions): { profiles: string[]; pool: string | undefined } {
  const { url, model, all, gpu, workers, createPool } = options;
  checkAddress(url);
  for (const worker of workers) if (worker !== listedWorkers) checkAddress(worker);
  if ((model === undefined) === (all === undefined))
    throw usage('one of `--model` and `--all` was wanted', '`--model BAAI/bge-m3`, or `--all site.receipt.json`');
  if (
    all !== undefined &&
    (options.revision !== undefined || options.receipt !== undefined || options.dim !== undefined)
  )
    throw usage(
      '`--revision`, `--receipt`, `--lock` and `--dim` are for one model',
      'leave them out: the file of `--all` names the commits',
    );
  checkUnused(options);
  const parts = (gpu ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const pools = new Set([
    ...parts.flatMap((part) => (part.includes('/') ? [part.split('/')[0] ?? ''] : [])),
    ...(options.pool === undefined ? [] : [options.pool]),
  ]);
  if (pools.size > 1)
    throw usage('more than one pool was named', 'name it once: `--gpu pool/l4`, or `--pool pool --gpu l4`');
  const [pool] = pools;
  if (pool !== undefined) checkPoolName(pool);
  const profiles = parts.map((part) => part.slice(part.indexOf('/') + 1));
  const odd = profiles.find((profile) => !/^[\w.-]+$/.test(profile));
  if (odd !== undefined)
    throw usage(`\`${odd}\` is no machine profile`, 'such as `l4`, `a100-80gb`, `cpu`, or with its pool `pool/l4`');
  if (createPool === true && (pool === undefined || profiles.length === 0))
    throw usage(
      '`--create-pool` needs `--pool` and `--gpu`',
      'a pool is made of workers of machine profiles: `--gpu smoke/l4 --create-pool`',
    );
  return { profiles, pool };
}

/** What would say nothing is refused: it looks as if it had been checked. @throws E_USAGE */
function checkUnused({ kind, output, dim, dtype, record, golden, tolerance, revision }: SmokeOptions): void {
  const ofVectors = { output, dim, dtype, record, golden, tolerance };
  const of = (flags: Record<string, unknown>): string | undefined =>
    Object.keys(flags).find((name) => flags[name] !== undefined);
  const unused =
    kind === 'score' || kind === 'extract'
      ? of(ofVectors)
      : kind === 'openai' && (dtype !== undefined || (output !== undefined && output !== 'dense'))
        ? of({ dtype, output })
        : undefined;
  if (unused !== undefined) throw usage(`\`--${kind}\` has no use for \`--${unused}\``, `leave out one of them`);
  if (tolerance !== undefined && golden === undefined)
    throw usage('`--tolerance` has no use without `--golden`', 'give the file of `--record`, or leave it out');
  if (revision !== undefined && !/^[0-9a-f]{40}$/.test(revision))
    throw usage(
      `\`--revision ${printable(revision)}\` is no commit: 40 hexadecimal digits were wanted`,
      '`--lock FILE` or `--receipt FILE` names the commit of a branch or a tag',
    );
}

function usage(message: string, hint: string): MirrorError {
  return new MirrorError('E_USAGE', message, { hint });
}
