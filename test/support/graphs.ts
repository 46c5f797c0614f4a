import * as fc from 'fast-check';
import type { Descriptor } from '../../src/core/descriptor.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  fallbackTag,
} from './images.ts';
import type { TestRegistry } from './registry.ts';

/** An image with everything that belongs to it: what a copy has to bring over. */
export interface TestGraph {
  root: BuiltImage;
  /** Referrers, and what has a tag that cosign names after a digest. */
  extras: { image: BuiltImage; tag?: string }[];
}

interface Shape {
  leaves: { seed: number; docker: boolean; layers: number }[];
  /** Each index names some of what was made before it. */
  indexes: { picks: number[]; docker: boolean }[];
  /** Each refers to some manifest that was made before it. */
  referrers: number[];
  signed: number[];
}

const pick = fc.nat({ max: 1000 });

/** Images, indexes of images and of indexes, referrers, and referrers of referrers; parts are shared. */
export const testGraph: fc.Arbitrary<TestGraph> = fc
  .record<Shape>({
    leaves: fc.array(
      fc.record({ seed: fc.integer({ min: 0, max: 5 }), docker: fc.boolean(), layers: fc.integer({ min: 0, max: 3 }) }),
      { minLength: 1, maxLength: 5 },
    ),
    indexes: fc.array(fc.record({ picks: fc.array(pick, { maxLength: 4 }), docker: fc.boolean() }), { maxLength: 4 }),
    referrers: fc.array(pick, { maxLength: 4 }),
    signed: fc.array(pick, { maxLength: 2 }),
  })
  .map(buildGraph);

function buildGraph({ leaves, indexes, referrers, signed }: Shape): TestGraph {
  const made: BuiltImage[] = leaves.map((leaf) => buildImage({ ...leaf, layerBytes: 200 }));
  for (const { picks, docker } of indexes)
    made.push(buildIndex({ children: picks.map((index) => chosen(made, index)), docker }));
  const root = made.length === 1 ? chosen(made, 0) : buildIndex({ children: [...made.slice(-2), ...made] });
  const subjects = [...root.manifests].map(([digest, { mediaType, bytes }]) => ({
    digest,
    mediaType,
    size: bytes.length,
  }));
  const extras: TestGraph['extras'] = [];
  for (const [index, referrer] of referrers.entries()) {
    const subject = chosen(subjects, referrer);
    const image = buildArtifact({ seed: `referrer ${index}`, artifactType: `application/x.kind-${index}`, subject });
    extras.push({ image });
    subjects.push({ ...descriptorOf(image) });
  }
  for (const index of signed) {
    const { digest } = chosen(subjects, index);
    extras.push({ image: cosignSignature({ digest }), tag: cosignTag(digest) });
  }
  return { root, extras };
}

function chosen<T>(list: readonly T[], index: number): T {
  const item = list[index % list.length];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}

/** Puts all of it into a registry, past every check; `fallback` for one that has no referrers API. */
export function putGraph(
  registry: TestRegistry,
  repository: string,
  graph: TestGraph,
  tag: string,
  fallback = false,
): void {
  registry.put(repository, graph.root, tag);
  for (const { image, tag: extra } of graph.extras) registry.put(repository, image, extra);
  if (!fallback) return;
  const referrers = new Map<string, BuiltImage[]>();
  for (const { image } of graph.extras) {
    const subject = subjectOf(image);
    if (subject) referrers.set(subject.digest, [...(referrers.get(subject.digest) ?? []), image]);
  }
  for (const [digest, children] of referrers) registry.put(repository, buildIndex({ children }), fallbackTag(digest));
}

/** What a manifest says that it refers to. */
export function subjectOf(image: BuiltImage): Descriptor | undefined {
  return (JSON.parse(Buffer.from(image.bytes).toString()) as { subject?: Descriptor }).subject;
}

/** Every manifest and every blob of it, by digest. */
function partsOf({ root, extras }: TestGraph): {
  manifests: Map<string, Uint8Array>;
  blobs: Map<string, Uint8Array>;
} {
  const images = [root, ...extras.map(({ image }) => image)];
  return {
    manifests: new Map(images.flatMap(({ manifests }) => [...manifests].map(([digest, { bytes }]) => [digest, bytes]))),
    blobs: new Map(images.flatMap(({ blobs }) => [...blobs])),
  };
}

/** Two platforms with a layer in common, and an SBOM. */
export function sampleGraph(): TestGraph {
  const children = [1, 2].map((seed) => buildImage({ seed, layers: 2, layerBytes: 60_000 }));
  const root = buildIndex({ children });
  return {
    root,
    extras: [
      { image: buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(root) }) },
    ],
  };
}

/** What is not there byte for byte, or not under its tag. */
export function missingAt(zone: TestRegistry, repository: string, tag: string, graph: TestGraph): string[] {
  const { manifests, blobs } = partsOf(graph);
  const same = (found: Uint8Array | undefined, wanted: Uint8Array): boolean =>
    found !== undefined && Buffer.from(found).equals(wanted);
  const tags = [{ tag, image: graph.root }, ...graph.extras];
  return [
    ...[...manifests].filter(([digest, bytes]) => !same(zone.manifest(repository, digest)?.bytes, bytes)),
    ...[...blobs].filter(([digest, bytes]) => !same(zone.blob(repository, digest), bytes)),
    ...tags.filter((each) => zone.manifest(repository, each.tag ?? each.image.digest)?.digest !== each.image.digest),
  ].map((each) => JSON.stringify(each).slice(0, 100));
}
