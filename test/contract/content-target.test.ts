import { HttpClient } from '../../src/http/client.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { WritableLayout, WritableView } from '../../src/oci/layout/layout.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { resilientTarget } from '../../src/oci/registry/resilient.ts';
import { copyRetry } from '../support/copying.ts';
import { temporaryDirectory } from '../support/place.ts';
import { profileIdentity, profileUser, registryProfiles } from '../support/registry-profiles.ts';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import { contentTargetContract, type TargetUnderTest } from './content-target.contract.ts';

async function layoutTarget(repository: string): Promise<TargetUnderTest> {
  const place = await temporaryDirectory();
  const layout = await WritableLayout.open(place.path);
  return { target: new WritableView(layout, repository), cleanup: async () => place[Symbol.asyncDispose]() };
}

contentTargetContract('layout', () => layoutTarget('registry.example/team/app'));
contentTargetContract('layout with bare tags', () => layoutTarget(''));

const user = { user: 'tester', password: 'pass:word, "with" signs' };
const basic: Credential = { kind: 'basic', ...user };

async function registryTarget(
  options: RegistryOptions,
  credential?: Credential,
  wrap: (target: ContentTarget, registry: TestRegistry) => ContentTarget = (target) => target,
): Promise<TargetUnderTest> {
  const registry = await startRegistry(options);
  registry.create('team/app');
  const client = new HttpClient({ userAgent: 'test', insecureHosts: [registry.host] });
  const { host } = registry;
  const target = new Registry(host, 'target', client, async () => Promise.resolve(credential)).repository('team/app');
  return {
    target: wrap(target, registry),
    cleanup: async () => {
      await client.close();
      await registry.close();
    },
  };
}

/** Every call finds the token of the call before expired. */
function expiring(target: ContentTarget, registry: TestRegistry): ContentTarget {
  const expired = <T>(call: () => Promise<T>): Promise<T> => {
    registry.expireTokens();
    return call();
  };
  return {
    resolve: (reference) => expired(() => target.resolve(reference)),
    fetch: (descriptor) => expired(() => target.fetch(descriptor)),
    exists: (descriptor) => expired(() => target.exists(descriptor)),
    referrers: (subject) => expired(() => target.referrers(subject)),
    tags: () => expired(() => target.tags()),
    push: (expected, content, signal) => expired(() => target.push(expected, content, signal)),
    tag: (descriptor, reference) => expired(() => target.tag(descriptor, reference)),
    attach: (subject, referrers) => expired(() => target.attach(subject, referrers)),
  };
}

contentTargetContract('open registry', () => registryTarget({}));
contentTargetContract('registry with basic auth', () => registryTarget({ auth: { kind: 'basic', ...user } }, basic));
contentTargetContract('registry with tokens of one second', () =>
  registryTarget({ auth: { kind: 'bearer', ...user, tokenLifeSeconds: 1 } }, basic),
);
contentTargetContract('registry whose tokens keep expiring', () =>
  registryTarget({ auth: { kind: 'bearer', ...user } }, basic, expiring),
);
contentTargetContract('registry with identity tokens', () =>
  registryTarget(
    { auth: { kind: 'bearer', ...user, refreshToken: 'identity' } },
    { kind: 'identity', token: 'identity' },
  ),
);
contentTargetContract('registry with absolute locations', () => registryTarget({ location: 'absolute' }));
contentTargetContract('registry that redirects blobs', () =>
  registryTarget({ redirectBlobs: true, auth: { kind: 'basic', ...user } }, basic),
);
contentTargetContract('registry without ranges', () => registryTarget({ range: false }));
contentTargetContract('registry without referrers', () => registryTarget({ referrers: false }));
contentTargetContract('registry whose digest tag is the subject', () => registryTarget({ digestTagIsSubject: true }));
contentTargetContract('registry with small pages', () => registryTarget({ pageSize: 1 }));

for (const [name, options] of Object.entries(registryProfiles)) {
  const credential: Credential =
    name === 'acr' ? { kind: 'identity', token: profileIdentity } : { kind: 'basic', ...profileUser };
  contentTargetContract(
    `registry that behaves as ${name}`,
    () => registryTarget(options, credential, (target) => resilientTarget(target, copyRetry)),
    { attaches: name !== 'gitlab' },
  );
}
