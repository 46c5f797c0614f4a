import type { ByteCursor } from './byte-cursor.ts';
import { type PickleBudget, pickleBudget, type PickleImport, type PickleWalk, walkPickle } from './pickle.ts';
import { type ImportVerdict, judgeImport } from './pickle-verdict.ts';

/** An import with what is thought of it. */
export interface JudgedImport extends PickleImport {
  verdict: ImportVerdict;
}

/** What all pickles that stand in one file, one after the other, ask for. */
export interface PickleFindings {
  /** Pickles that were read to their end. */
  pickles: number;
  protocol: number;
  /** Sorted by module and name. */
  imports: JudgedImport[];
  /** The walk did not come to the end: what stands behind is not known. */
  truncated: boolean;
  /** Why, when `truncated`. */
  reason?: 'ends early' | 'is no pickle from some place on' | 'is larger than what is looked through';
  isBroken: boolean;
  /** Some name is out of sight because the pickle is larger or framed in another way than any that Python writes. */
  isHiding: boolean;
}

/** As many as `torch.load` reads of a file of torch before 1.6; raw numbers follow. */
const picklesOfLegacyTorch = 5;

/** LONG1 with the number 0x1950a86a20f9469cfc6c, or that number as a line. */
const legacyTorchMagic =
  // eslint-disable-next-line no-control-regex
  /^(?:\u0080[\u0002-\u0005](?:\u0095[^]{8})?\u008a\u000a\u006c\u00fc\u009c\u0046\u00f9\u0020\u006a\u00a8\u0050\u0019|(?:\u0080[\u0000\u0001])?L119547037146038801333356L\n)\./;

/** Whether a file begins as `torch.save` wrote it before torch 1.6. */
export function isLegacyTorch(head: Buffer): boolean {
  return legacyTorchMagic.test(head.toString('latin1', 0, 64));
}

/**
 * Walks over the pickles of a file until its end. What follows on a pickle and is none is left alone when nothing in it
 * could be taken for an import.
 * @param kind `torch` reads five pickles and no more; `some` reads what there is
 */
export async function walkPickles(
  cursor: ByteCursor,
  kind: 'torch' | 'some' = 'some',
  budget: PickleBudget = pickleBudget(),
): Promise<PickleFindings> {
  const walks: PickleWalk[] = [];
  const most = kind === 'torch' ? picklesOfLegacyTorch : Number.POSITIVE_INFINITY;
  while (walks.length < most) {
    if (!(await cursor.fill(1)) && walks.length > 0 && kind === 'some') break;
    const walk = await walkPickle(cursor, budget);
    const isTail = walk.end !== 'stop' && walk.end !== 'limit' && walk.imports.length === 0;
    if (isTail && walks.length > 0 && kind === 'some') break;
    walks.push(walk);
    if (walk.end !== 'stop') break;
  }
  return summarize(walks);
}

/**
 * Whether bytes without a magic are taken for a pickle: they were read to their end and import something, or they
 * import something by names that a reader could find, or hide them as chance does not, or there is more of them than is
 * looked through.
 */
export function looksLikePickle({ imports, truncated, reason, isHiding }: PickleFindings): boolean {
  if (isHiding || reason === 'is larger than what is looked through') return true;
  // eslint-disable-next-line no-control-regex
  const isName = (text: string | null): boolean => text !== null && /^[^\u0000-\u001f\u007f-\u009f\ufffd]+$/.test(text);
  const isUntold = (text: string | null): boolean => text === null || isName(text);
  // Readers run what they come by, also when they cannot read on: one name is enough.
  return truncated
    ? imports.some(({ module, name }) => (isName(module) && isUntold(name)) || (module === null && isName(name)))
    : imports.length > 0;
}

function summarize(walks: readonly PickleWalk[]): PickleFindings {
  const imports = new Map<string, JudgedImport>();
  for (const found of walks.flatMap((walk) => walk.imports))
    imports.set(JSON.stringify([found.module, found.name]), { ...found, verdict: judgeImport(found) });
  const last = walks.at(-1)?.end ?? 'truncated';
  const findings: PickleFindings = {
    pickles: walks.filter(({ end }) => end === 'stop').length,
    protocol: Math.max(0, ...walks.map(({ protocol }) => protocol)),
    imports: [...imports].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found),
    truncated: last !== 'stop',
    isBroken: walks.some(({ isBroken }) => isBroken),
    isHiding: walks.some(({ isHiding, imports: named }) => isHiding && named.length > 0),
  };
  return last === 'stop' ? findings : { ...findings, reason: reasons[last] };
}

const reasons = {
  truncated: 'ends early',
  malformed: 'is no pickle from some place on',
  limit: 'is larger than what is looked through',
} as const;
