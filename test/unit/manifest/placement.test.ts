import { describe, expect, it } from 'vitest';
import { parseReference } from '../../../src/oci/reference.ts';
import { defaultPlacement, placementOf, refuseCollisions } from '../../../src/manifest/placement.ts';
import { codeOfCall } from '../../support/failures.ts';

describe('placementOf', () => {
  const rules = [
    { from: 'ghcr.io/', to: 'gh/' },
    { from: 'ghcr.io/superlinked/sie/', to: 'deep/' },
    { from: 'ghcr.io/superlinked/', to: 'sie/' },
    { from: 'ghcr.io/exact/name', to: 'renamed' },
  ];

  it.each([
    ['ghcr.io/superlinked/server', 'sie/server'],
    ['ghcr.io/superlinked/sie/server', 'deep/server'],
    ['ghcr.io/other/x', 'gh/other/x'],
    ['ghcr.io/exact/name', 'renamed'],
    ['docker.io/library/nats', 'docker.io/library/nats'],
    ['localhost:5000/a/b', 'localhost-5000/a/b'],
  ])('%s goes to %s', (name, place) => {
    expect(placementOf(name, undefined, rules)).toBe(place);
    expect(placementOf(name, undefined, rules.toReversed())).toBe(place);
  });

  it('lets the image say itself', () => {
    expect(placementOf('ghcr.io/superlinked/server', 'mine', rules)).toBe('mine');
  });

  it('keeps hosts apart by default', () => {
    expect(defaultPlacement('a.io/x')).not.toBe(defaultPlacement('b.io/x'));
  });

  it.each([
    ['[::1]:5000/team/app', '0--1-5000/team/app'],
    ['[fd00::]/app', 'fd00--0/app'],
    ['[FD00::2]:443/app', 'fd00--2-443/app'],
    ['registry.zone:5000/app', 'registry.zone-5000/app'],
  ])('makes a path of a registry that any registry takes: %s', (name, place) => {
    expect(defaultPlacement(name)).toBe(place);
    expect(parseReference(`zone.io/${place}:v1`).repository).toBe(place);
  });
});

describe('refuseCollisions', () => {
  const image = (
    reference: string,
    to: string,
    digest: string,
    tag = 't',
  ): Parameters<typeof refuseCollisions>[0][number] => ({
    reference,
    to,
    tag,
    digest,
  });

  it('refuses two images in one place', () => {
    expect(codeOfCall(() => refuseCollisions([image('a', 'x', '1'), image('b', 'y', '2'), image('c', 'x', '3')]))).toBe(
      'E_MANIFEST',
    );
  });

  it.each([
    ['other tags', [image('a', 'x', '1', 't'), image('b', 'x', '2', 'u')]],
    ['other places', [image('a', 'x', '1'), image('b', 'y', '2')]],
    ['the same image twice', [image('a', 'x', '1'), image('b', 'x', '1')]],
    ['no images', []],
  ])('takes %s', (_, images) => {
    expect(() => refuseCollisions(images)).not.toThrow();
  });
});
