import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import {
  digestTag,
  fallbackTag,
  formatReference,
  parseReference,
  type Reference,
  wantedOf,
} from '../../../src/oci/reference.ts';
import { failureOfCall } from '../../support/failures.ts';

const digest = sha256('x');

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), word), { maxLength: 2 }))
  .map(([first, rest]) => first + rest.flat().join(''));
const repository = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const host = fc.oneof(
  fc
    .tuple(fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/), fc.constantFrom('.io', '.zone.example'))
    .map((parts) => parts.join('')),
  fc.constantFrom('localhost', '127.0.0.1', '[::1]'),
);
const registry = fc
  .tuple(host, fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }))
  .map(([name, port]) => (port === undefined ? name : `${name}:${port}`));
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
const anyDigest = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}` as const);
const reference: fc.Arbitrary<Reference> = fc
  .record({
    registry,
    repository,
    tag: fc.option(tag, { nil: undefined }),
    digest: fc.option(anyDigest, { nil: undefined }),
  })
  .filter((parts) => parts.tag !== undefined || parts.digest !== undefined)
  .map((parts) => ({
    registry: parts.registry,
    repository: parts.repository,
    ...(parts.tag === undefined ? {} : { tag: parts.tag }),
    ...(parts.digest === undefined ? {} : { digest: parts.digest }),
  }));

it('reads what it wrote, whatever the reference', () => {
  fc.assert(
    fc.property(reference, (given) => {
      expect(parseReference(formatReference(given))).toEqual(given);
    }),
    { seed: 2, numRuns: 500 },
  );
});

it.each<[string, Reference]>([
  ['nats', { registry: 'docker.io', repository: 'library/nats', tag: 'latest' }],
  ['nats:2.12', { registry: 'docker.io', repository: 'library/nats', tag: '2.12' }],
  ['my.app:12', { registry: 'docker.io', repository: 'library/my.app', tag: '12' }],
  ['nats:5000', { registry: 'docker.io', repository: 'library/nats', tag: '5000' }],
  ['docker.io/nats', { registry: 'docker.io', repository: 'library/nats', tag: 'latest' }],
  ['Index.Docker.IO/nats', { registry: 'docker.io', repository: 'library/nats', tag: 'latest' }],
  ['index.docker.io/library/nats', { registry: 'docker.io', repository: 'library/nats', tag: 'latest' }],
  ['superlinked/sie', { registry: 'docker.io', repository: 'superlinked/sie', tag: 'latest' }],
  ['localhost/a', { registry: 'localhost', repository: 'a', tag: 'latest' }],
  ['r.zone:5000/a/b:t', { registry: 'r.zone:5000', repository: 'a/b', tag: 't' }],
  [`r.zone/a@${digest}`, { registry: 'r.zone', repository: 'a', digest }],
  [`r.zone/a:t@${digest}`, { registry: 'r.zone', repository: 'a', tag: 't', digest }],
  ['[::1]:5000/a:t', { registry: '[::1]:5000', repository: 'a', tag: 't' }],
])('completes %s as docker does', (text, wanted) => {
  expect(parseReference(text)).toEqual(wanted);
});

describe('a malformed reference', () => {
  it.each([
    ['registry', '-bad.io/a'],
    ['registry', 'bad_host.io/a'],
    ['registry', 'r.zone:port/a'],
    ['registry', 'r.zone:123456/a'],
    ['registry', 'r.zone:65536/a'],
    ['registry', '10.0.0.999:5000/a'],
    ['registry', '[::1::2]:5000/a'],
    ['registry', 'user:secret.x/a'],
    ['repository', 'UPPER/a'],
    ['repository', 'r.zone/A'],
    ['repository', 'r.zone/a//b'],
    ['repository', 'r.zone/../a'],
    ['repository', 'r.zone/a/'],
    ['repository', ''],
    ['repository', 'r.zone/'],
    ['repository', 'r.zone/a b'],
    ['tag', 'r.zone/a:'],
    ['tag', 'r.zone/a:-x'],
    ['tag', `r.zone/a:${'x'.repeat(129)}`],
    ['digest', 'r.zone/a@sha256:abc'],
    ['digest', 'r.zone/a@'],
    ['digest', `r.zone/a@md5:${'a'.repeat(32)}`],
    ['reference', 'https://r.zone/a'],
    ['reference', 'localhost:5000'],
    ['reference', '127.0.0.1:5000'],
    ['reference', 'registry.zone:443'],
    ['reference', `r.zone/a@${digest}@${digest}`],
  ])('has its %s named: %j', (part, text) => {
    const error = failureOfCall(() => parseReference(text));

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toContain(`the ${part} \``);
  });
});

it('says to leave out what other tools write before a reference', () => {
  expect(failureOfCall(() => parseReference('docker://r.zone/a:t')).hint).toContain('leave out `docker://`');
});

it('takes no password, and does not repeat it', () => {
  const error = failureOfCall(() => parseReference('me:secret@r.zone/a:t'));

  expect(error.code).toBe('E_USAGE');
  expect(`${error.message} ${error.hint}`).not.toContain('secret');
  expect(error.hint).toContain('docker login r.zone');
});

it('asks for the digest where there is one', () => {
  expect(wantedOf(parseReference(`r.zone/a:t@${digest}`))).toBe(digest);
  expect(wantedOf(parseReference('r.zone/a:t'))).toBe('t');
});

it('reads the tags that are named after a digest', () => {
  const base = fallbackTag(digest);

  expect(digestTag(base)).toEqual({ subject: digest, kind: 'index' });
  expect(digestTag(`${base}.sig`)).toEqual({ subject: digest, kind: 'sig' });
  expect(digestTag(`${base}.att`)).toEqual({ subject: digest, kind: 'att' });
  expect(digestTag(`${base}.sbom`)).toEqual({ subject: digest, kind: 'sbom' });
});

it.each(['latest', 'sha256-abc', `sha256-${'a'.repeat(64)}.exe`, `sha512-${'a'.repeat(64)}`, `x-${'a'.repeat(64)}`])(
  'takes %s for a plain tag',
  (text) => {
    expect(digestTag(text)).toBeUndefined();
  },
);
