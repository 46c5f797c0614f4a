import type { Descriptor } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import { bare, type LayoutEntry, namesOf, splitName } from './index-file.ts';
import { digestTag } from '../reference.ts';
import { isManifest, type ManifestDocument, mediaTypes } from '../types.ts';

/** Descriptors of what refers to each digest. */
export type ReferrersBySubject = ReadonlyMap<Digest, Descriptor[]>;

/** What is asked of the layout. */
interface Documents {
  find(descriptor: Descriptor): Promise<unknown>;
  /** Throws E_NOT_FOUND. */
  document(descriptor: Descriptor): Promise<ManifestDocument>;
}

/**
 * All referrers of a layout, in one pass over its entries. Entries that refer to something are how most tools hold what
 * nothing but its subject leads to; regctl lists it in an index that is named by the fallback tag of the subject.
 */
export async function referrersBySubject(
  entries: readonly LayoutEntry[],
  documents: Documents,
): Promise<ReferrersBySubject> {
  const found = new Map<Digest, Map<Digest, Descriptor>>();
  const consider = async (descriptor: Descriptor): Promise<void> => {
    const document = await documents.document(descriptor);
    if (!document.subject) return;
    const { digest } = document.subject;
    const referrers = found.get(digest) ?? new Map<Digest, Descriptor>();
    found.set(digest, referrers.set(descriptor.digest, referrerDescriptor(descriptor, document)));
  };
  for (const entry of entries.filter((candidate) => isManifest(candidate))) {
    const names = namesOf(entry);
    // What has a name is an image first, and its lacking blob is told to who wants that image.
    if (names.length > 0 && !(await documents.find(bare(entry)))) continue;
    await consider(bare(entry));
    if (entry.mediaType !== mediaTypes.ociIndex || !names.some(isFallbackTag)) continue;
    for (const listed of (await documents.document(bare(entry))).manifests)
      if (isManifest(listed) && (await documents.find(listed))) await consider(listed);
  }
  return new Map([...found].map(([subject, referrers]) => [subject, [...referrers.values()]]));
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema */
function isFallbackTag(name: string): boolean {
  return digestTag(splitName(name).reference)?.kind === 'index';
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers wants these two in the list. */
function referrerDescriptor({ mediaType, digest, size }: Descriptor, document: ManifestDocument): Descriptor {
  return {
    mediaType,
    digest,
    size,
    ...(document.artifactType === undefined ? {} : { artifactType: document.artifactType }),
    ...(Object.keys(document.annotations).length > 0 ? { annotations: document.annotations } : {}),
  };
}
