import type * as Hub from '@huggingface/hub';

/** @huggingface/hub, loaded when something of it is needed first: most commands never do. */
export async function hubLibrary(): Promise<typeof Hub> {
  return import('@huggingface/hub');
}
