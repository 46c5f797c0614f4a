import type { Descriptor } from '../../core/descriptor.ts';
import { isDigest } from '../../core/digest.ts';
import { endsRun, isWrongBytes, MirrorError, toMirrorError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import { smallBody } from '../../core/limit.ts';
import type { Content, ContentSource } from '../../core/ports.ts';
import { Check, expectationOf, readVerified } from '../../core/stream.ts';
import { isUnreachable } from '../../http/connection-error.ts';
import { isManifest } from '../types.ts';

/** A registry or a mirror of it, and for what it is asked. */
export interface Candidate {
  /** Its host. */
  name: string;
  repository(name: string): ContentSource;
  resolves: boolean;
  pulls: boolean;
}

/**
 * A registry with mirrors. Tags and content come from the first that has them: mirrors in their order, then the registry
 * itself. Lists of tags and referrers come from the registry itself, as a mirror may know a part only; from a mirror where
 * it does not answer. Content is checked by its digest wherever it comes from, and who gave other bytes is asked last from
 * then on; a tag means what the first mirror says.
 */
export class MirroredRegistry {
  readonly #host: string;
  readonly #mirrors: readonly Candidate[];
  readonly #server: Candidate;
  readonly #report: Reporter;
  /** What no connection came about to is asked again only where nobody else answers. */
  readonly #down = new Map<Candidate, MirrorError>();
  /** What gave other bytes than those of a digest is read from last. */
  readonly #wrong = new Set<Candidate>();
  readonly #told = new Set<string>();

  constructor(host: string, mirrors: readonly Candidate[], server: Candidate, report: Reporter) {
    this.#host = host;
    this.#mirrors = mirrors;
    this.#server = server;
    this.#report = report;
  }

  repository(name: string): ContentSource {
    const all = [...this.#mirrors, this.#server];
    const pulling = all.filter(({ pulls }) => pulls);
    const resolving = all.filter(({ resolves }) => resolves);
    const sourceOf = (candidate: Candidate): ContentSource => candidate.repository(name);
    return {
      places: pulling.length,
      resolve: async (reference) =>
        this.#first(isDigest(reference) ? pulling : resolving, async (candidate) =>
          sourceOf(candidate).resolve(reference),
        ),
      fetch: async (descriptor) => Promise.resolve(this.#content(pulling, sourceOf, descriptor)),
      exists: async (descriptor) => this.#anyHas(pulling, async (candidate) => sourceOf(candidate).exists(descriptor)),
      referrers: async (subject) =>
        this.#first([this.#server, ...this.#mirrors], async (candidate) => sourceOf(candidate).referrers(subject)),
      tags: async () => this.#first([this.#server, ...this.#mirrors], async (candidate) => sourceOf(candidate).tags()),
    };
  }

  async #anyHas(candidates: readonly Candidate[], has: (candidate: Candidate) => Promise<boolean>): Promise<boolean> {
    try {
      return await this.#first(candidates, async (candidate) => {
        if (await has(candidate)) return true;
        throw new MirrorError('E_NOT_FOUND', `\`${candidate.name}\` does not have it`);
      });
    } catch (error) {
      if (error instanceof MirrorError && isNotFound(error)) return false;
      throw error;
    }
  }

  /** @throws what the last said; E_NOT_FOUND where somebody said so and the others cannot be reached */
  async #first<T>(candidates: readonly Candidate[], work: (candidate: Candidate) => Promise<T>): Promise<T> {
    const problems: MirrorError[] = [];
    for (const candidate of this.#inOrder(candidates)) {
      if (this.#down.has(candidate) && problems.some(isNotFound)) break;
      try {
        const result = await work(candidate);
        this.#tellUsed(candidate);
        return result;
      } catch (error) {
        problems.push(this.#passedOver(candidate, error));
      }
    }
    throw this.#worst(problems);
  }

  #content(
    candidates: readonly Candidate[],
    sourceOf: (candidate: Candidate) => ContentSource,
    descriptor: Descriptor,
  ): Content {
    const broken = new Set<Candidate>();
    const open = async function* (
      this: MirroredRegistry,
      offset: number,
      signal: AbortSignal | undefined,
    ): AsyncGenerator<Uint8Array> {
      const problems: MirrorError[] = [];
      // Who broke off in the middle is asked last when the rest is wanted.
      const isDoubted = (each: Candidate): boolean => broken.has(each) || this.#wrong.has(each);
      const order = this.#inOrder(candidates).toSorted((a, b) => Number(isDoubted(a)) - Number(isDoubted(b)));
      for (const candidate of order) {
        let begun = false;
        try {
          const content = await sourceOf(candidate).fetch(descriptor);
          for await (const chunk of offset === 0
            ? checked(content, descriptor, signal)
            : content.open(offset, signal)) {
            if (!begun) this.#tellUsed(candidate);
            begun = true;
            yield chunk;
          }
          return;
        } catch (error) {
          if (isWrongBytes(error)) this.#wrong.add(candidate);
          if (begun) {
            broken.add(candidate);
            if (isWrongBytes(error)) this.#passedOver(candidate, error);
            throw error;
          }
          problems.push(this.#passedOver(candidate, error));
        }
      }
      throw this.#worst(problems);
    };
    return { size: descriptor.size, open: (offset, signal) => open.call(this, offset, signal) };
  }

  #inOrder(candidates: readonly Candidate[]): Candidate[] {
    return candidates.toSorted((a, b) => Number(this.#down.has(a)) - Number(this.#down.has(b)));
  }

  /** @throws what is no matter of this one candidate */
  #passedOver(candidate: Candidate, error: unknown): MirrorError {
    const known = toMirrorError(error);
    if (endsRun(known) || known.code === 'E_USAGE') throw known;
    if (isUnreachable(known)) this.#down.set(candidate, known);
    if (isNotFound(known)) return known;
    if (candidate !== this.#server)
      this.#tell('note', `the mirror \`${candidate.name}\` of \`${this.#host}\` is passed over: ${known.message}`);
    else if (isUnreachable(known))
      this.#tell(
        'warning',
        `\`${this.#host}\` cannot be reached: what its mirrors do not have counts as not there (${known.message})`,
      );
    return known;
  }

  #worst(problems: readonly MirrorError[]): MirrorError {
    const last = problems.at(-1);
    const missing = problems.findLast(isNotFound);
    const found = last && isUnreachable(last) ? (missing ?? last) : last;
    return found ?? new MirrorError('E_USAGE', `hosts.toml names nobody who may be asked for \`${this.#host}\``);
  }

  #tellUsed(candidate: Candidate): void {
    if (candidate !== this.#server) this.#tell('note', `\`${this.#host}\`: using its mirror \`${candidate.name}\``);
  }

  #tell(type: 'note' | 'warning', text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.#report({ type, text });
  }
}

/** Content from its first byte on: of what is small nothing, of a large blob not the end is handed on before it was checked. */
async function* checked(
  content: Content,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const expected = expectationOf(descriptor);
  if (descriptor.size <= smallBody || isManifest(descriptor)) {
    yield await readVerified(content, expected, signal);
    return;
  }
  const check = new Check(expected);
  for await (const chunk of content.open(0, signal)) {
    check.update(chunk);
    if (check.seen === descriptor.size) check.finish();
    yield chunk;
  }
}

function isNotFound({ code }: MirrorError): boolean {
  return code === 'E_NOT_FOUND';
}
