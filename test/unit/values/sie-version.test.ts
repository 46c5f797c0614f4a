import { expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import { chooseSieVersion } from '../../../src/values/sie-version.ts';
import type { Zone } from '../../../src/values/zone.ts';
import { codeOfCall } from '../../support/failures.ts';

const zoneOf = (...images: string[]): Zone => ({
  name: 'site-a',
  receipt: sha256('receipt'),
  models: undefined,
  modelList: [],
  images: images.map((text) => {
    const [name = '', tag] = text.split(':');
    const place = { registry: 'ghcr.io', repository: `superlinked/${name}`, tag };
    return { source: place, target: place, digest: sha256(text) };
  }),
});

it.each([
  ['sie-gateway:v0.3.4', '0.3.4'],
  ['sie-server:v0.3.4-cuda12-default', '0.3.4'],
  ['sie-server:v0.10.1-cpu-sglang-embedding', '0.10.1'],
  ['sie-config:v0.11.0-rc.1', '0.11.0-rc.1'],
  ['sie-server:v0.11.0-rc.1-cuda13-sglang-cu130', '0.11.0-rc.1'],
])('reads the release of %s', (image, version) => {
  expect(chooseSieVersion(zoneOf(image), undefined).version).toBe(version);
});

it('believes the user first', () => {
  expect(chooseSieVersion(zoneOf('sie-gateway:v0.3.4'), 'v0.10.1')).toMatchObject({
    version: '0.10.1',
    passesClusterCache: true,
    known: true,
  });
});

it.each([
  ['no image of SIE', []],
  ['a tag that is no release', ['sie-gateway:latest']],
  ['images of two releases', ['sie-gateway:v0.3.4', 'sie-config:v0.10.1']],
])('does not guess from %s', (_, images) => {
  expect(codeOfCall(() => chooseSieVersion(zoneOf(...images), undefined))).toBe('E_USAGE');
});

it.each(['0.2.9', 'latest', '1'])('refuses the release %s', (version) => {
  expect(codeOfCall(() => chooseSieVersion(zoneOf(), version))).toBe('E_USAGE');
});

it.each([
  ['0.3.4', false, false],
  ['0.6.30', true, false],
  ['0.7.3', true, true],
  ['1.0.0', true, true],
])('knows what the chart %s can do', (version, hasSidecar, passesClusterCache) => {
  expect(chooseSieVersion(zoneOf(), version)).toMatchObject({ hasSidecar, passesClusterCache });
});
