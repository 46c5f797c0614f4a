import type { Descriptor } from '../../core/descriptor.ts';
import type { Digest } from '../../core/digest.ts';
import { bare, type LayoutEntry, namesOf, splitName } from './index-file.ts';
import { digestTag } from '../reference.ts';
import { isManifest, type ManifestDocument, mediaTypes } from '../types.ts';

/** Descriptors of what refers to each digest. */
export interface ReferrersBySubject {
  bySubject: ReadonlyMap<Digest, readonly Descriptor[]>;
  /** Entries without a name that are not there: each may have referred to anything. */
  lost: readonly Descriptor[];
}

/** What is asked of the layout. */
interface Documents {
  find(descriptor: Descriptor): Promise<unknown>;
  /** Throws E_NOT_FOUND. */
  document(descriptor: Descriptor): Promise<ManifestDocument>;
}

/**
 * All referrers of a layout, in one pass over its entries. Entries that refer to something are how most tools hold what
 * nothing but its subject leads to; regctl lists it in an index that is named by the fallback tag of the subject. What is
 * listed and not there is listed all the same: who wants it has to hear of it.
 */
export async function referrersBySubject(
  entries: readonly LayoutEntry[],
  documents: Documents,
): Promise<ReferrersBySubject> {
  const found = new Map<Digest, Map<Digest, Descriptor>>();
  const lost: Descriptor[] = [];
  const add = (subject: Digest, referrer: Descriptor): void => {
    const referrers = found.get(subject) ?? new Map<Digest, Descriptor>();
    found.set(subject, referrers.set(referrer.digest, referrer));
  };
  const consider = async (descriptor: Descriptor): Promise<void> => {
    const document = await documents.document(descriptor);
    if (document.subject) add(document.subject.digest, referrerDescriptor(descriptor, document));
  };
  for (const entry of entries.filter((candidate) => isManifest(candidate))) {
    const names = namesOf(entry);
    if (!(await documents.find(bare(entry)))) {
      // What has a name is an image first, and its lacking blob is told to who wants that image.
      if (names.length === 0) lost.push(bare(entry));
      continue;
    }
    await consider(bare(entry));
    const subject = entry.mediaType === mediaTypes.ociIndex ? names.map(subjectOfFallback).find(Boolean) : undefined;
    if (subject === undefined) continue;
    for (const listed of (await documents.document(bare(entry))).manifests) {
      if (!isManifest(listed)) continue;
      if (await documents.find(listed)) await consider(listed);
      else add(subject, listed);
    }
  }
  return { bySubject: new Map([...found].map(([subject, referrers]) => [subject, [...referrers.values()]])), lost };
}

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema */
function subjectOfFallback(name: string): Digest | undefined {
  const tag = digestTag(splitName(name).reference);
  return tag?.kind === 'index' ? tag.subject : undefined;
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
