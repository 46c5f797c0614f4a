import { MirrorError, placeError } from '../core/errors.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Content, ContentSource } from '../core/ports.ts';
import { explained } from '../core/stream.ts';

/** Work at one side: its errors say so, unless they know better. */
export async function at<T>(side: 'source' | 'target', item: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw placeError(error, { side, item });
  }
}

/** The same content, whose errors say that it was the source that broke. */
export function fromSource(content: Content, item: string): Content {
  return explained(content, (error) => placeError(error, { side: 'source', item }));
}

/** What a tag or digest names; undefined when it names nothing. */
export async function resolved(source: ContentSource, reference: string): Promise<Descriptor | undefined> {
  try {
    return await source.resolve(reference);
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'E_NOT_FOUND') return undefined;
    throw error;
  }
}
