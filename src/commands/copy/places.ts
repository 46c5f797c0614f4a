import type { Descriptor } from '../../core/descriptor.ts';
import { isDigest } from '../../core/digest.ts';
import type { ContentSource, ContentTarget } from '../../core/ports.ts';
import { CopyPool, type Destination } from '../../oci/copy/pool.ts';
import { withForeignLayers } from '../../oci/copy/foreign.ts';
import type { WritableLayout } from '../../oci/layout/layout.ts';
import { resolved } from '../../oci/side.ts';
import type { Context } from '../context.ts';
import { openSource, openTarget, type SourceEndpoint, type TargetEndpoint } from '../places/endpoint.ts';
import type { OpenPlaces } from '../places/local-source.ts';
import type { TrustOptions } from '../records/sealed.ts';

/** A target with what the copies of this command share there. */
export interface SharedTarget extends TargetEndpoint {
  destination: Destination;
}

/** Opens what the copies of one command name: what one of them has learnt of a repository, the next one knows. */
export class CopyPlaces {
  readonly pool: CopyPool;
  readonly #context: Context;
  readonly #trust: TrustOptions;
  readonly #includeForeign: boolean;
  readonly #sources = new Map<string, ContentSource>();
  readonly #targets = new Map<string, ContentTarget>();
  readonly #opened: OpenPlaces;
  readonly #layouts = new Map<string, Promise<WritableLayout>>();

  /** @param opened places that sources lie in, and are opened already */
  constructor(context: Context, options: { includeForeign: boolean }, trust: TrustOptions, opened: OpenPlaces) {
    this.#context = context;
    this.#trust = trust;
    this.#includeForeign = options.includeForeign;
    this.#opened = opened;
    this.pool = new CopyPool(context.slots);
  }

  /** @throws what `openSource` throws */
  async source(text: string): Promise<SourceEndpoint> {
    const opened = await openSource(this.#context, text, this.#trust, this.#opened);
    const key = opened.shown.slice(0, -opened.wanted.length);
    const source = this.#sources.get(key) ?? this.#shared(opened.source);
    this.#sources.set(key, source);
    return { ...opened, source };
  }

  /** @throws what `openTarget` throws */
  async target(text: string, from: SourceEndpoint): Promise<SharedTarget> {
    const opened = await openTarget(this.#context, text, from, this.#layouts);
    const destination = this.pool.destination(opened.host, opened.repository);
    if (opened.target.local) return { ...opened, destination };
    const key = `${opened.host}/${opened.repository}`;
    const target = this.#targets.get(key) ?? opened.target;
    this.#targets.set(key, target);
    return { ...opened, target, destination };
  }

  /** Its list of tags is read once, however many images are looked at for signatures. */
  #shared(source: ContentSource): ContentSource {
    const whole = this.#includeForeign ? withForeignLayers(source, this.#context.http, this.#context.retry) : source;
    let tags: Promise<string[]> | undefined;
    return {
      places: whole.places,
      resolve: (reference) => whole.resolve(reference),
      exists: (descriptor) => whole.exists(descriptor),
      referrers: (subject) => whole.referrers(subject),
      fetch: (descriptor) => whole.fetch(descriptor),
      tags: async () => (tags ??= whole.tags()),
    };
  }
}

/** What a source is said to be, when its tag and its digest part. */
export async function resolveSource(
  { source, tag, wanted, name }: SourceEndpoint,
  context: Context,
): Promise<Descriptor> {
  if (tag === undefined || !isDigest(wanted)) return source.resolve(wanted);
  // The digest is what was asked for; the tag is a name that may have moved on.
  const named = await resolved(source, tag);
  if (named?.digest === wanted) return named;
  context.report({
    type: 'note',
    text: `\`${name}\`: the tag \`${tag}\` now names ${named ? `\`${named.digest}\`` : 'nothing'}; the digest is copied`,
  });
  return source.resolve(wanted);
}
