import type { ReceivedImage } from '../../src/bundle/records/receipt.ts';
import type { Digest } from '../../src/core/digest.ts';
import type { FaultId } from '../../src/doctor/faults.ts';
import { bucketCases } from './doctor-bucket-cases.ts';
import type { DoctorCase } from './doctor-case.ts';
import { clusterCases } from './doctor-cluster-cases.ts';
import { buildImage, buildIndex, type BuiltImage, multiArch } from './images.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts';
import { model, models } from './sick-zone.ts';
import { type GatewayOptions, startGateway } from './sie.ts';
import { serverTls } from './tls.ts';

const nothing = (): void => {};

const image = multiArch('doctor');

function inRegistry(
  fault: FaultId,
  when: string,
  put: (registry: TestRegistry) => void,
  { options = {}, plain = true }: { options?: RegistryOptions; plain?: boolean } = {},
): DoctorCase {
  return {
    fault,
    when,
    look: async (zone) => {
      const registry = zone.keep(await startRegistry(options));
      if (plain) zone.insecureHosts = [registry.host];
      put(registry);
      const received: ReceivedImage = {
        reference: 'ghcr.io/superlinked/app:v1',
        target: `${registry.host}/sie/app:v1`,
        digest: image.digest as Digest,
        digests: [],
      };
      const receipt = await zone.receipt({
        models: [],
        targets: { images: `${registry.host}/sie` },
        images: [received],
      });
      return zone.doctor({ receipt });
    },
  };
}

function without(whole: BuiltImage, digest: string): BuiltImage {
  return {
    ...whole,
    blobs: new Map([...whole.blobs].filter(([each]) => each !== digest)),
    manifests: new Map([...whole.manifests].filter(([each]) => each !== digest)),
  };
}

function truncated(whole: BuiltImage, digest: string): BuiltImage {
  const manifests = [...whole.manifests].map(([each, { mediaType, bytes }]) => {
    return [each, { mediaType, bytes: each === digest ? bytes.subarray(0, 20) : bytes }] as const;
  });
  return { ...whole, manifests: new Map(manifests) };
}

const arm = [...image.manifests.keys()][1] ?? '';
const layer = [...image.blobs.keys()].at(-1) ?? '';

const registryCases: DoctorCase[] = [
  {
    fault: 'registry-unreachable',
    when: 'nothing listens at that address',
    look: (zone) => {
      zone.insecureHosts = ['127.0.0.1:9'];
      return zone.doctor({ images: '127.0.0.1:9/sie' });
    },
  },
  inRegistry('registry-tls', 'the authority of the registry is not given with `--ca`', nothing, {
    options: { tls: serverTls() },
    plain: false,
  }),
  inRegistry('registry-denied', 'nobody has logged in', (registry) => registry.put('sie/app', image, 'v1'), {
    options: { auth: { kind: 'basic', user: 'u', password: 'p' } },
  }),
  inRegistry('image-missing', 'an image was not imported', nothing),
  inRegistry('image-other', 'somebody pushed over the tag', (registry) =>
    registry.put('sie/app', buildIndex({ children: [buildImage({ seed: 'other' })] }), 'v1'),
  ),
  inRegistry('image-damaged', 'the disk of the registry has lost the end of a manifest', (registry) =>
    registry.put('sie/app', truncated(image, arm), 'v1'),
  ),
  inRegistry('image-platform', '`docker push` left a hole in the index', (registry) =>
    registry.put('sie/app', without(image, arm), 'v1'),
  ),
  inRegistry('image-blob', 'the registry has lost a layer', (registry) =>
    registry.put('sie/app', without(image, layer), 'v1'),
  ),
];

const l4 = { name: 'sie-worker-0', profile: 'l4', memoryTotalBytes: 24e9, healthy: true, bundle: 'default' };

function atGateway(fault: FaultId, when: string, options: Partial<GatewayOptions>, withModels = false): DoctorCase {
  return {
    fault,
    when,
    look: async (zone) => {
      const gateway = zone.keep(await startGateway({ models: { [model]: { dim: 8 } }, workers: [l4], ...options }));
      if (withModels) await zone.bucket();
      return zone.doctor({ gateway: gateway.url, ...(withModels ? { models } : {}) });
    },
  };
}

const gatewayCases: DoctorCase[] = [
  {
    fault: 'gateway-unreachable',
    when: 'nothing listens at that address',
    look: (zone) => zone.doctor({ gateway: 'http://127.0.0.1:9' }),
  },
  atGateway('gateway-tls', 'the authority of the gateway is not given with `--ca`', { tls: serverTls() }),
  atGateway('gateway-denied', 'SIE_AUTH_TOKEN is not set', { token: 'canary-token' }),
  atGateway('gateway-other', 'a login page answers', {
    faults: () => ({
      kind: 'status',
      status: 200,
      headers: { 'content-type': 'text/html' },
      body: '<html>log in</html>',
    }),
  }),
  atGateway('workers-none', 'no worker has come up', { workers: [], configuredProfiles: ['l4'] }),
  atGateway(
    'model-case',
    'a repo was imported under another case',
    { models: { 'SIE-test/tiny-e5': { dim: 8 } } },
    true,
  ),
  atGateway('model-unknown', 'another SIE bundle is deployed', { models: { 'BAAI/bge-m3': { dim: 8 } } }, true),
  atGateway('profile-idle', 'a pool has scaled to zero', { configuredProfiles: ['l4', 'a100-40gb'] }),
];

/** Every fault that can be built, in the order of the page. */
export const doctorCases: readonly DoctorCase[] = [...bucketCases, ...registryCases, ...clusterCases, ...gatewayCases];
