import { packed, PackedList } from './long-list.ts';

const runLength = 8192;

/** The rest of a run, and what it begins with. */
interface Head<T> {
  value: T;
  key: string;
  rest: Iterator<T>;
}

/**
 * A long list in the order of its keys, by their code units; no two have the same. Pieces of it are sorted and merged, so
 * that it is never there as a whole but packed.
 */
export function sortedList<T>(values: Iterable<T>, keyOf: (value: T) => string): PackedList<T> {
  const runs: PackedList<T>[] = [];
  for (const run of runsOf(values)) {
    const keyed = run.map((value) => ({ value, key: keyOf(value) })).sort((a, b) => (a.key < b.key ? -1 : 1));
    runs.push(packed(keyed, ({ value }) => value));
  }
  return runs.length === 1 && runs[0] ? runs[0] : merged(runs, keyOf);
}

function* runsOf<T>(values: Iterable<T>): Generator<T[]> {
  let run: T[] = [];
  for (const value of values) {
    run.push(value);
    if (run.length < runLength) continue;
    yield run;
    run = [];
  }
  if (run.length > 0) yield run;
}

function merged<T>(runs: readonly PackedList<T>[], keyOf: (value: T) => string): PackedList<T> {
  /** The first comes last, as there it is taken from most easily. */
  const heads: Head<T>[] = [];
  const enter = (rest: Iterator<T>): void => {
    const { done, value } = rest.next();
    if (done === true) return;
    const head = { value, key: keyOf(value), rest };
    heads.splice(placeOf(head.key, heads), 0, head);
  };
  for (const run of runs) enter(run[Symbol.iterator]());
  const list = new PackedList<T>();
  for (let head = heads.pop(); head; head = heads.pop()) {
    list.push(head.value);
    enter(head.rest);
  }
  return list;
}

/** Before all that are to be taken earlier. */
function placeOf<T>(key: string, heads: readonly Head<T>[]): number {
  let [low, high] = [0, heads.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((heads[middle]?.key ?? '') > key) low = middle + 1;
    else high = middle;
  }
  return low;
}
