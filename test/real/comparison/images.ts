import { helmChart } from '../../support/charts.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  multiArch,
} from '../../support/images.ts';
import { pushImage, putManifest } from '../seed.ts';

/** Content of every kind that registries hold. */
export interface Specimen {
  name: string;
  image: BuiltImage;
  /** Whether its layers are file systems, which readers of images unpack. */
  layers: boolean;
}

/** One of each kind. */
export function specimens(): Specimen[] {
  const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
  return [
    { name: 'index', layers: true, image: multiArch('index') },
    {
      name: 'docker-list',
      layers: true,
      image: buildIndex({
        docker: true,
        children: [
          buildImage({ seed: 'docker amd64', docker: true }),
          buildImage({ seed: 'docker arm64', docker: true, platform: arm }),
        ],
      }),
    },
    {
      name: 'nested-index',
      layers: true,
      image: buildIndex({ children: [multiArch('nested'), buildImage({ seed: 'beside' })] }),
    },
    { name: 'artifact', layers: false, image: buildArtifact({ seed: 'artifact', artifactType: 'application/x.test' }) },
    { name: 'chart', layers: false, image: helmChart() },
  ];
}

/** An image of six layers of `bytes` each, with real tars. */
export function largeImage(bytes: number): BuiltImage {
  return buildImage({ seed: 'large', layers: 6, layerBytes: bytes });
}

/** Bytes of all blobs. */
export function contentBytes(image: BuiltImage): number {
  return [...image.blobs.values()].reduce((sum, bytes) => sum + bytes.length, 0);
}

/** An index with what refers to it and to a child of it, by every way that there is. */
export interface SignedImage {
  root: BuiltImage;
  child: BuiltImage;
  /** Referrer of the root. */
  sbom: BuiltImage;
  /** Referrer of the child. */
  attestation: BuiltImage;
  /** Under cosign's tag for the child. */
  signature: BuiltImage;
}

export function signedImage(): SignedImage {
  const child = buildImage({ seed: 'signed amd64' });
  const other = buildImage({ seed: 'signed arm64', platform: { os: 'linux', architecture: 'arm64' } });
  const root = buildIndex({ children: [child, other] });
  const referrer = (seed: string, subject: BuiltImage): BuiltImage =>
    buildArtifact({ seed, artifactType: `application/x.${seed}`, subject: descriptorOf(subject) });
  const [sbom, attestation] = [referrer('sbom', root), referrer('attestation', child)];
  return { root, child, sbom, attestation, signature: cosignSignature(child) };
}

/** Pushes it under a tag; with `fallback` for a registry without the referrers API. */
export async function pushSigned(
  host: string,
  repository: string,
  { root, child, sbom, attestation, signature }: SignedImage,
  tag: string,
  fallback: boolean,
): Promise<void> {
  await pushImage(host, repository, root, tag);
  await pushImage(host, repository, sbom);
  await pushImage(host, repository, attestation);
  await pushImage(host, repository, signature, cosignTag(child.digest));
  if (!fallback) return;
  for (const [subject, referrer] of [
    [root, sbom],
    [child, attestation],
  ] as const) {
    const { bytes } = buildIndex({ children: [referrer] });
    await putManifest(
      `http://${host}/v2/${repository}/manifests/${fallbackTag(subject.digest)}`,
      MEDIA_TYPES.ociIndex,
      bytes,
    );
  }
}
