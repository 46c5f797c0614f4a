import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  cosignSignature,
  cosignTag,
  descriptorOf,
} from './images.ts';
import { startHub, type TestHub } from './hub.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { tinyModel } from './repos.ts';
import { startS3, type TestS3 } from './s3.ts';
import { s3Env } from './s3-env.ts';
import { startGateway, type TestGateway } from './sie.ts';

export const keys = { accessKeyId: 'ZONEACCESSKEY', secretAccessKey: 'zone-secret-key-of-the-tests' };
export const hubToken = 'hf_test_token_that_must_appear_nowhere';
export const modelId = 'sie-test/tiny-e5';
export const dimensions = 8;

/** Both sides of an air gap, in this process: hub and registry online, S3, registry and SIE gateway in the zone. */
export interface World {
  hub: TestHub;
  source: TestRegistry;
  s3: TestS3;
  zone: TestRegistry;
  gateway: TestGateway;
  /** Two platforms, with an SBOM as referrer and a cosign signature of one platform. */
  image: BuiltImage;
  commit: string;
  /** Environment of a command on the online side. */
  online: Record<string, string>;
  /** Environment of a command in the zone. */
  inside: Record<string, string>;
  /** Stops everything; throws if any server saw a request that it did not know. */
  close(): Promise<void>;
}

export const imageRepository = 'superlinked/sie-server';
export const imageTag = 'v0.3.4-cuda12-default';

export async function startWorld(options: { weightsBytes?: number; layerBytes?: number } = {}): Promise<World> {
  const hub = await startHub({ tokens: { [hubToken]: { access: [] } } });
  const { commit } = hub.addRepo({
    id: modelId,
    license: 'mit',
    files: tinyModel(1, { weightsBytes: options.weightsBytes ?? 256 * 1024, nonAscii: true }),
  });
  const source = await startRegistry({ redirectBlobs: true });
  const zone = await startRegistry({
    auth: { kind: 'basic', user: 'importer', password: 'zone-password' },
    referrers: false,
  });
  const image = putImage(source, options.layerBytes ?? 64 * 1024);
  const s3 = await startS3({ buckets: ['models'], ...keys });
  const gateway = await startGateway({ models: { [modelId]: { dim: dimensions } }, provisionFor: { requests: 1 } });
  const servers = [hub, source, s3, zone, gateway];
  return {
    hub,
    source,
    s3,
    zone,
    gateway,
    image,
    commit,
    online: { HF_ENDPOINT: hub.url, HF_TOKEN: hubToken },
    inside: s3Env(s3.url, keys),
    close: async () => {
      const results = await Promise.allSettled(servers.map((server) => server.close()));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
}

function putImage(source: TestRegistry, layerBytes: number): BuiltImage {
  const platforms = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm64', variant: 'v8' },
  ];
  const children = platforms.map((platform, index) =>
    buildImage({ seed: `server-${index}`, platform, layers: 2, layerBytes }),
  );
  const image = buildIndex({ children });
  source.put(imageRepository, image, imageTag);
  source.put(
    imageRepository,
    buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) }),
  );
  const [first] = children;
  if (first) source.put(imageRepository, cosignSignature(first), cosignTag(first.digest, 'sig'));
  return image;
}

/** A docker config.json with the zone's credentials. */
export function dockerConfig(zone: TestRegistry): string {
  return JSON.stringify({ auths: { [zone.host]: { auth: Buffer.from('importer:zone-password').toString('base64') } } });
}
