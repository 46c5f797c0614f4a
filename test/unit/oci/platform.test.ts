import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import {
  formatPlatform,
  parsePlatform,
  samePlatform,
  sourceDigestAnnotation,
  subsetIndex,
} from '../../../src/oci/platform.ts';
import { codeOfCall } from '../../support/failures.ts';

describe('platforms', () => {
  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['Linux/X86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/i386', 'linux/386'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['macos/arm64', 'darwin/arm64'],
    ['linux/ppc64le', 'linux/ppc64le'],
  ])('%s is %s, as containerd has it', (text, name) => {
    expect(formatPlatform(parsePlatform(text))).toBe(name);
    expect(samePlatform(parsePlatform(text), parsePlatform(name))).toBe(true);
  });

  it.each([
    ['linux/arm/v7', 'linux/arm/v6'],
    ['linux/arm64', 'linux/arm/v8'],
    ['linux/amd64', 'linux/amd64/v2'],
    ['linux/amd64', 'windows/amd64'],
  ])('%s is not %s', (one, other) => {
    expect(samePlatform(parsePlatform(one), parsePlatform(other))).toBe(false);
  });

  it('have one name, however often it is read', () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,6}$/);
    fc.assert(
      fc.property(part, part, fc.option(part), (os, architecture, variant) => {
        const name = formatPlatform(
          parsePlatform([os, architecture, ...(variant === null ? [] : [variant])].join('/')),
        );
        expect(formatPlatform(parsePlatform(name))).toBe(name);
      }),
      { seed: 1 },
    );
  });

  it.each(['', 'linux', 'linux/', '/amd64', 'a/b/c/d', 'a b/c', 'a/b/'])('%j is none', (text) => {
    expect(codeOfCall(() => parsePlatform(text))).toBe('E_USAGE');
  });
});

describe('a smaller index', () => {
  const entries = ['a', 'b', 'c'].map((name) => ({ mediaType: 'm', digest: sha256(name), size: 1, 'x-other': name }));
  const bytes = Buffer.from(JSON.stringify({ z: 1, schemaVersion: 2, manifests: entries, a: { b: null } }, null, 3));
  const source = sha256(bytes);

  it('has the kept entries in their order with all that they say, and names its source', () => {
    expect(JSON.parse(subsetIndex(bytes, [entries[0], undefined, entries[2]], source).toString())).toEqual({
      z: 1,
      schemaVersion: 2,
      manifests: [entries[0], entries[2]],
      a: { b: null },
      annotations: { [sourceDigestAnnotation]: source },
    });
  });

  it('has new digest and size where a child was made smaller, and not its old bytes', () => {
    const text = JSON.stringify({ manifests: [{ ...entries[0], data: 'YQ==' }], annotations: { k: 'v' } });

    const made = subsetIndex(Buffer.from(text), [{ digest: sha256('new'), size: 7 }], source).toString();

    expect(JSON.parse(made)).toEqual({
      manifests: [{ mediaType: 'm', digest: sha256('new'), size: 7, 'x-other': 'a' }],
      annotations: { k: 'v', [sourceDigestAnnotation]: source },
    });
  });
});
