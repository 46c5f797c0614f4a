import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { sha256 } from '../../../src/core/digest.ts';
import {
  embeddedBytes,
  isForeign,
  isManifest,
  mediaTypes,
  parseManifest,
  parseUnknownManifest,
} from '../../../src/oci/types.ts';
import { buildArtifact, buildImage, buildIndex, descriptorOf } from '../../support/images.ts';
import { codeOfCall } from '../../support/failures.ts';

const descriptor = { mediaType: 'application/x', digest: sha256('x'), size: 1 };
const config = { ...descriptor, mediaType: 'application/vnd.oci.image.config.v1+json' };
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const refusalOf = (value: unknown): string =>
  codeOfCall(() => parseManifest(bytesOf(value), mediaTypes.ociManifest, 'x'));

it.each([false, true])('reads an image (docker: %s)', (docker) => {
  const image = buildImage({ seed: 1, docker, layers: 3 });

  const document = parseManifest(image.bytes, image.mediaType, 'x');

  expect(document.mediaType).toBe(image.mediaType);
  expect(document.manifests).toEqual([]);
  expect(document.blobs.map(({ digest }) => digest)).toEqual([...image.blobs.keys()]);
});

it.each([false, true])('reads an index (docker: %s)', (docker) => {
  const children = [buildImage({ seed: 1, docker }), buildImage({ seed: 2, docker })];
  const index = buildIndex({ children, docker });

  const document = parseManifest(index.bytes, index.mediaType, 'x');

  expect(document.manifests).toEqual(children.map(descriptorOf));
  expect(document.blobs).toEqual([]);
});

it('reads what refers to another', () => {
  const subject = descriptorOf(buildImage({ seed: 1 }));
  const artifact = buildArtifact({ seed: 2, artifactType: 'application/spdx+json', subject, annotations: { a: 'b' } });

  const document = parseManifest(artifact.bytes, artifact.mediaType, 'x');

  expect(document.subject?.digest).toBe(subject.digest);
  expect(document.artifactType).toBe('application/spdx+json');
  expect(document.annotations).toEqual({ a: 'b' });
});

it('takes the type of the config for the artifact type where there is no other', () => {
  expect(parseManifest(bytesOf({ schemaVersion: 2, config, layers: [] }), '', 'x').artifactType).toBe(config.mediaType);
});

it('infers the media type that neither the document nor the server states', () => {
  expect(parseManifest(bytesOf({ schemaVersion: 2, manifests: [] }), '', 'x').mediaType).toBe(mediaTypes.ociIndex);
  expect(parseManifest(bytesOf({ schemaVersion: 2, config, layers: [] }), '', 'x').mediaType).toBe(
    mediaTypes.ociManifest,
  );
  expect(parseManifest(bytesOf({ schemaVersion: 2 }), mediaTypes.dockerManifest, 'x').mediaType).toBe(
    mediaTypes.dockerManifest,
  );
});

describe('hostile documents', () => {
  it('refuses docker schema 1', () => {
    expect(refusalOf({ schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [] })).toBe('E_PROTOCOL');
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a list', []],
    ['text', 'x'],
    ['another schema version', { schemaVersion: 3 }],
    ['no schema version', { layers: [] }],
    ['more layers than anybody has', { schemaVersion: 2, layers: Array.from({ length: 10_001 }, () => descriptor) }],
    [
      'more manifests than anybody has',
      { schemaVersion: 2, manifests: Array.from({ length: 10_001 }, () => descriptor) },
    ],
    ['a short digest', { schemaVersion: 2, layers: [{ ...descriptor, digest: 'sha256:abc' }] }],
    [
      'a digest that climbs',
      { schemaVersion: 2, layers: [{ ...descriptor, digest: `sha256:../../${'a'.repeat(58)}` }] },
    ],
    ['an unknown algorithm', { schemaVersion: 2, config: { ...descriptor, digest: `md5:${'a'.repeat(32)}` } }],
    ['no digest', { schemaVersion: 2, subject: { mediaType: 'x', size: 1 } }],
    ['a negative size', { schemaVersion: 2, layers: [{ ...descriptor, size: -1 }] }],
    ['a fractional size', { schemaVersion: 2, layers: [{ ...descriptor, size: 1.5 }] }],
    ['a size beyond counting', { schemaVersion: 2, layers: [{ ...descriptor, size: 1e300 }] }],
    ['a size that is text', { schemaVersion: 2, layers: [{ ...descriptor, size: '1' }] }],
    ['annotations that are no text', { schemaVersion: 2, annotations: { a: 1 } }],
    ['layers that are no list', { schemaVersion: 2, layers: { length: 1 } }],
    ['a media type of another thing', { schemaVersion: 2, mediaType: 'application/octet-stream', layers: [] }],
  ])('refuses %s', (_, value) => {
    expect(refusalOf(value)).toBe('E_CORRUPT');
  });

  it.each(['', '{', 'not json', '{"schemaVersion":2'])('refuses what is not JSON: %j', (text) => {
    expect(codeOfCall(() => parseManifest(Buffer.from(text), mediaTypes.ociManifest, 'x'))).toBe('E_CORRUPT');
  });

  it('lets no key reach a prototype', () => {
    const text = `{"schemaVersion":2,"annotations":{"__proto__":"x","a":"b"},"__proto__":{"subject":1}}`;

    const document = parseManifest(Buffer.from(text), mediaTypes.ociManifest, 'x');

    expect(document.subject).toBeUndefined();
    expect(document.annotations['a']).toBe('b');
    expect(Object.hasOwn(Object.prototype, 'subject')).toBe(false);
  });
});

it('tells manifests and foreign layers from other things', () => {
  const foreign = {
    ...descriptor,
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    urls: ['https://x'],
  };

  expect(isManifest({ mediaType: mediaTypes.dockerList })).toBe(true);
  expect(isManifest(config)).toBe(false);
  expect(isForeign(foreign)).toBe(true);
  expect(isForeign({ ...foreign, urls: [] })).toBe(false);
  expect(isForeign({ ...descriptor, urls: ['https://x'] })).toBe(false);
});

describe('a manifest of a type that nobody knows', () => {
  const type = 'application/vnd.example.manifest.v9+json';

  it.each([
    [{ mediaType: type, config, layers: [descriptor] }, [config, descriptor]],
    [{ schemaVersion: 2, layers: [descriptor] }, [descriptor]],
    // The artifact manifest of an early draft.
    [{ mediaType: type, blobs: [descriptor], subject: descriptor }, [descriptor]],
  ])('is read for what it leads to', (document, blobs) => {
    expect(parseUnknownManifest(bytesOf(document), type, 'x')).toMatchObject({ mediaType: type, blobs });
  });

  it.each([{}, [], 'x', { mediaType: 'application/other' }, { schemaVersion: 3 }, { mediaType: type, layers: 'x' }])(
    'is not what does not say so: %j',
    (value) => {
      expect(parseUnknownManifest(bytesOf(value), type, 'x')).toBeUndefined();
    },
  );

  it('is not what is no JSON', () => {
    expect(parseUnknownManifest(Buffer.from('{'), type, 'x')).toBeUndefined();
  });
});

it.each<[string, Partial<Descriptor>, string | undefined]>([
  ['that are right', { data: 'eA==' }, 'x'],
  ['that are others', { data: 'eQ==' }, undefined],
  ['of another size', { data: 'eA==', size: 2 }, undefined],
  ['that are none', {}, undefined],
])('takes bytes from a descriptor only where it carries bytes %s', (_, fields, text) => {
  expect(embeddedBytes({ ...descriptor, ...fields })?.toString()).toBe(text);
});
