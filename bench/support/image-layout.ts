import { createHash, type Hash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { seededChunks, writeBlob } from './seeded-file.ts';

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string };
  annotations?: Record<string, string>;
}

export interface ImageSpec {
  platforms: number;
  layers: number;
  layerBytes: number;
}

const types = 'application/vnd.oci.image';
const architectures = ['amd64', 'arm64', 'ppc64le', 's390x', 'riscv64', 'mips64le', 'loong64', '386'];

/** An OCI image layout that holds one image of random layers under the tag `bench`; an index where it has more platforms. */
export async function writeImageLayout(directory: string, spec: ImageSpec): Promise<void> {
  const blobs = join(directory, 'blobs/sha256');
  const images: Descriptor[] = [];
  for (const architecture of architectures.slice(0, spec.platforms)) {
    images.push({ ...(await writeImage(blobs, architecture, spec)), platform: { os: 'linux', architecture } });
  }
  const mediaType = `${types}.index.v1+json`;
  const [only] = images;
  const root =
    only && images.length === 1
      ? only
      : await writeJson(blobs, mediaType, { schemaVersion: 2, mediaType, manifests: images });
  const named = { ...root, annotations: { 'org.opencontainers.image.ref.name': 'bench' } };
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
}

async function writeImage(blobs: string, architecture: string, { layers, layerBytes }: ImageSpec): Promise<Descriptor> {
  const descriptors: Descriptor[] = [];
  const diffIds: string[] = [];
  for (let index = 0; index < layers; index += 1) {
    const plain = createHash('sha256');
    // What is no gzip crane would compress where it reads a tarball.
    const packed = hashed(seededChunks(`layer ${architecture} ${index}`, layerBytes), plain);
    const { hex, size } = await writeBlob(blobs, Readable.from(packed).pipe(createGzip({ level: 0 })));
    descriptors.push({ mediaType: `${types}.layer.v1.tar+gzip`, digest: `sha256:${hex}`, size });
    diffIds.push(`sha256:${plain.digest('hex')}`);
  }
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = await writeJson(blobs, `${types}.config.v1+json`, { architecture, os: 'linux', config: {}, rootfs });
  const mediaType = `${types}.manifest.v1+json`;
  return writeJson(blobs, mediaType, { schemaVersion: 2, mediaType, config, layers: descriptors });
}

function* hashed(chunks: Iterable<Uint8Array>, hash: Hash): Generator<Uint8Array> {
  for (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

async function writeJson(blobs: string, mediaType: string, value: unknown): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(value));
  const hex = createHash('sha256').update(bytes).digest('hex');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(blobs, hex), bytes);
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}
