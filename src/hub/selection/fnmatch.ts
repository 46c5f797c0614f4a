import { printable } from '../../core/text.ts';

/** One step of a pattern. */
type Token =
  | { kind: 'star' }
  | { kind: 'any' }
  | { kind: 'char'; point: number }
  | { kind: 'set'; negated: boolean; ranges: readonly Range[] };

type Range = readonly [from: number, to: number];

/**
 * A shell pattern as Python's `fnmatch.fnmatchcase` understands it: `*`, `?`, `[seq]`, `[!seq]`; `*` and `?` match `/`
 * and leading dots too, there is no escape, and the whole text has to match. Takes time in proportion to the product of
 * both lengths at worst. https://docs.python.org/3/library/fnmatch.html
 */
export function compilePattern(pattern: string): (text: string) => boolean {
  const tokens = tokensOf(pointsOf(pattern));
  return (text) => matches(tokens, pointsOf(text));
}

function pointsOf(text: string): number[] {
  return Array.from(text, (char) => char.codePointAt(0) ?? 0);
}

/** After a mismatch only the last star has to take one more: an earlier one could not help. */
function matches(tokens: readonly Token[], text: readonly number[]): boolean {
  let at = 0;
  let token = 0;
  let star: { token: number; at: number } | undefined;
  while (at < text.length) {
    const wanted = tokens[token];
    if (wanted?.kind === 'star') {
      star = { token, at };
      token += 1;
    } else if (wanted && takes(wanted, text[at] ?? 0)) {
      token += 1;
      at += 1;
    } else if (star) {
      star.at += 1;
      at = star.at;
      token = star.token + 1;
    } else return false;
  }
  return tokens.slice(token).every(({ kind }) => kind === 'star');
}

function takes(token: Exclude<Token, { kind: 'star' }>, point: number): boolean {
  if (token.kind === 'any') return true;
  if (token.kind === 'char') return token.point === point;
  return token.ranges.some(([from, to]) => from <= point && point <= to) !== token.negated;
}

const [star, question, open, close, bang, hyphen] = pointsOf('*?[]!-') as [
  number,
  number,
  number,
  number,
  number,
  number,
];

function tokensOf(pattern: readonly number[]): Token[] {
  const tokens: Token[] = [];
  for (let index = 0; index < pattern.length; index += 1) {
    const point = pattern[index] ?? 0;
    const end = point === open ? endOfSet(pattern, index + 1) : -1;
    if (end >= 0) {
      tokens.push(setOf(pattern.slice(index + 1, end)));
      index = end;
    } else if (point === star) {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else tokens.push(point === question ? { kind: 'any' } : { kind: 'char', point });
  }
  return tokens;
}

/** Where the bracket closes; one that is the first in its set is a member. -1 when it never does: then `[` is a letter. */
function endOfSet(pattern: readonly number[], from: number): number {
  const first = pattern[from] === bang ? from + 1 : from;
  return pattern.indexOf(close, pattern[first] === close ? first + 1 : first);
}

/**
 * A set of letters. Its hyphens part it into chunks; a range goes from the last letter of one to the first of the next.
 * Python takes away a range that runs backwards, with both of its ends, and only then looks for the mark of negation.
 */
function setOf(content: readonly number[]): Token {
  const chunks = chunksOf(content);
  for (let index = chunks.length - 1; index > 0; index -= 1) {
    const before = chunks[index - 1] ?? [];
    const after = chunks[index] ?? [];
    if ((before.at(-1) ?? 0) > (after[0] ?? 0))
      chunks.splice(index - 1, 2, [...before.slice(0, -1), ...after.slice(1)]);
  }
  const negated = chunks[0]?.[0] === bang;
  if (negated) chunks[0]?.shift();
  return { kind: 'set', negated, ranges: chunks.flatMap((chunk, index) => rangesOf(chunk, chunks[index + 1]?.[0])) };
}

/** @param next where the range goes that this chunk ends with; after no letter at all the hyphen is one */
function rangesOf(chunk: readonly number[], next: number | undefined): Range[] {
  const singles = chunk.map((point): Range => [point, point]);
  const from = chunk.at(-1);
  if (next === undefined) return singles;
  return [...singles, from === undefined ? [hyphen, hyphen] : [from, next]];
}

/** A hyphen parts only where a letter stands before it and it is not an end of the range before. */
function chunksOf(content: readonly number[]): number[][] {
  const chunks: number[][] = [];
  let start = 0;
  for (let at = content.indexOf(hyphen, content[0] === bang ? 2 : 1); at >= 0; at = content.indexOf(hyphen, at + 3)) {
    chunks.push(content.slice(start, at));
    start = at + 1;
  }
  const rest = content.slice(start);
  if (rest.length > 0) chunks.push(rest);
  else chunks.at(-1)?.push(hyphen);
  return chunks;
}

/**
 * A pattern for this name, to be typed in single quotes: what is special stands for itself, and `?` for what nobody can type.
 */
export function patternOf(name: string): string {
  return name
    .replaceAll(/[[*?]/g, (special) => `[${special}]`)
    .replaceAll(/\p{Surrogate}|'/gu, '?')
    .replaceAll(/[^]/gu, (char) => (printable(char) === char ? char : '?'));
}
