import { parse } from 'smol-toml';
import { expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import { containerdHosts } from '../../../src/values/containerd-hosts.ts';
import type { ImagePlace, ZoneImage } from '../../../src/values/zone.ts';

const place = (text: string): ImagePlace => {
  const [registry = '', ...path] = text.split('/');
  const [repository = '', tag] = path.join('/').split(':');
  return { registry, repository, tag };
};

const image = (source: string, target: string): ZoneImage => ({
  source: place(source),
  target: place(target),
  digest: sha256(source),
});

function hosts(...images: ZoneImage[]): { paths: string[]; documents: unknown[]; reached: ZoneImage[] } {
  const zone = { name: 'site-a', receipt: sha256('receipt'), models: undefined, modelList: [], images };
  const { files, reached } = containerdHosts(zone, (host) => (host.startsWith('plain') ? 'http' : 'https'));
  return { paths: files.map(({ path }) => path), documents: files.map(({ body }) => parse(body)), reached };
}

const table = { capabilities: ['pull', 'resolve'], override_path: true };

it('puts the prefix of the zone before the repositories of a registry', () => {
  const { paths, documents } = hosts(image('docker.io/library/nats:2', 'zone:5000/m/docker.io/library/nats:2'));

  expect(paths).toEqual(['containerd/certs.d/docker.io/hosts.toml']);
  expect(documents).toEqual([
    {
      server: 'https://zone:5000/v2/m/docker.io',
      override_path: true,
      host: { 'https://zone:5000/v2/m/docker.io': table },
    },
  ]);
});

it('lists every prefix that images of one registry have', () => {
  const { documents } = hosts(
    image('docker.io/library/nats:2', 'zone/m/library/nats:2'),
    image('docker.io/alpine/k8s:1', 'zone/other/alpine/k8s:1'),
  );

  expect(documents).toMatchObject([
    { host: { 'https://zone/v2/m': table, 'https://zone/v2/other': table }, server: 'https://zone/v2/m' },
  ]);
});

it('speaks plain HTTP to a registry that is said to', () => {
  const { documents } = hosts(image('docker.io/a/b:1', 'plain/a/b:1'));

  expect(documents).toMatchObject([{ server: 'http://plain/v2' }]);
});

it('writes the port of a registry in the form that every file system takes', () => {
  expect(hosts(image('source:5000/a/b:1', 'zone/m/a/b:1')).paths).toEqual([
    'containerd/certs.d/source_5000_/hosts.toml',
  ]);
});

it.each([
  ['has another path', 'docker.io/library/nats:2', 'zone/m/nats:2'],
  ['has a path that only ends in the same letters', 'docker.io/ats/x:2', 'zone/nats/x:2'],
  ['has another tag', 'docker.io/library/nats:2', 'zone/m/library/nats:3'],
  ['is where it was', 'zone/a/b:1', 'zone/a/b:1'],
])('promises nothing for an image that %s', (_, source, target) => {
  const { documents, reached } = hosts(image(source, target));

  expect(documents).toEqual([]);
  expect(reached).toEqual([]);
});
