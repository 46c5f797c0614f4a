import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';
import { parseJson } from '../core/validate.ts';
import type { HttpResponse } from '../http/client.ts';
import { addressHint, type SieFault, withHint } from './faults.ts';
import { decodeMsgpack } from './msgpack.ts';

/** One answer to a request for work. */
export type SieAnswer = { kind: 'done'; document: unknown; facts: AnswerFacts } | SieFault;

/** What the headers of an answer tell; by release, each may be missing. */
export interface AnswerFacts {
  queueMs?: number;
  inferenceMs?: number;
  /** Commit of the weights that answered. */
  revision?: string;
  version?: string;
  /** The very process that answered; newer releases name it. */
  instance?: string;
  /** By how many milliseconds the gateway's clock is ahead of this machine's. */
  clockAheadMs?: number;
}

const answerLimit = 16 * 1024 * 1024;
/** Vectors of one short text: several are kept at a time, and what is small on the wire may take much memory. */
const workLimit = 4 * 1024 * 1024;

/** The body of an answer. @param limit of its bytes @throws E_SMOKE for more of them */
export async function bounded(response: HttpResponse, at: ErrorPlace, limit = answerLimit): Promise<Buffer> {
  try {
    return await response.bytes(limit);
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'E_SIZE_MISMATCH') throw error;
    throw new MirrorError('E_SMOKE', `the answer is larger than ${limit / 1024 / 1024} MiB`, {
      hint: addressHint,
      at,
      cause: error,
    });
  }
}

/** What an answer of status 200 to a request for work says. @throws E_SMOKE for one without an end, and for what is no document */
export async function readAnswer(response: HttpResponse, at: ErrorPlace): Promise<SieAnswer> {
  const place = { ...at, status: response.status };
  const type = response.headers['content-type'] ?? '';
  if (!/msgpack|json/.test(type)) {
    await response.discard();
    const message = `the answer is \`${printable(type)}\`, msgpack or JSON was wanted`;
    return { kind: 'failed', error: new MirrorError('E_SMOKE', message, { hint: addressHint, at: place }) };
  }
  const bytes = await bounded(response, place, workLimit);
  const served = response.headers['x-sie-served-by'];
  if (served !== undefined && served !== 'local') {
    const why = printable(response.headers['x-sie-fallback-reason'] ?? 'no reason given');
    const message = `the answer came from \`${printable(served)}\` and not from this cluster (${why})`;
    const hint =
      'work leaves the cluster although `X-SIE-Remote: forbid` was sent: switch the remote upstream of the gateway off';
    return { kind: 'failed', error: new MirrorError('E_SMOKE', message, { hint, at: place }) };
  }
  const document = type.includes('json') ? readJson(bytes, 'the answer') : decodeMsgpack(bytes);
  return { kind: 'done', document, facts: factsOf(response) };
}

function factsOf({ headers }: HttpResponse): AnswerFacts {
  const facts: AnswerFacts = {};
  const queue = Number(headers['x-queue-time'] ?? Number.NaN);
  const inference = Number(headers['x-inference-time'] ?? Number.NaN);
  if (Number.isFinite(queue)) facts.queueMs = queue;
  if (Number.isFinite(inference)) facts.inferenceMs = inference;
  if (headers['x-sie-model-revision'] !== undefined) facts.revision = headers['x-sie-model-revision'];
  if (headers['x-sie-version'] !== undefined) facts.version = headers['x-sie-version'];
  if (headers['x-sie-runtime-instance'] !== undefined) facts.instance = headers['x-sie-runtime-instance'];
  const date = Date.parse(headers['date'] ?? '');
  if (Number.isFinite(date)) facts.clockAheadMs = date - Date.now();
  return facts;
}

/** @throws E_SMOKE */
export function readJson(bytes: Buffer, item: string): unknown {
  try {
    return parseJson(bytes, item, 'E_SMOKE');
  } catch (error) {
    throw withHint(
      error,
      'it was cut off or changed on its way: see the logs of the gateway, and what stands before it',
    );
  }
}
