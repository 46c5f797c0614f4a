import { describe, expect, it } from 'vitest';
import { readFiles, readInfo } from '../../../src/hub/access/listing.ts';
import type { RepoFile, RepoInfo } from '../../../src/hub/repo.ts';
import { codeOf } from '../../support/failures.ts';

const sha = '1'.repeat(40);
const entry = { type: 'file', path: 'a', size: 1, oid: '2'.repeat(40) };
const name = { type: 'model', repo: 'org/name' } as const;

/** A hub that gives every request the same answer. */
const hub = (body: unknown): { endpoint: string; fetch: typeof fetch } => ({
  endpoint: 'https://hub.example',
  fetch: () => Promise.resolve(Response.json(body)),
});

describe('what a hub says of a repo', () => {
  const info = (body: object): Promise<RepoInfo> => readInfo({ ...name, revision: 'main' }, hub({ sha, ...body }));

  it.each<[string, object, Partial<RepoInfo>]>([
    ['a mirror that says no more than the commit', {}, { canonical: 'org/name', gated: false }],
    ['tags that are none', { id: 'org/name', tags: [5, null], gated: null }, { gated: false }],
    ['a gate', { id: 'org/name', gated: 'manual' }, { gated: true }],
    ['a gate of another kind', { id: 'org/name', gated: 'later' }, { gated: true }],
    ['another name', { id: 'org/new' }, { canonical: 'org/new' }],
    [
      'a licence that would colour a terminal',
      { id: 'org/name', tags: ['license:\u001b[31mx'] },
      { license: '\\u001b[31mx' },
    ],
  ])('is taken: %s', async (_, body, expected) => {
    expect(await info(body)).toMatchObject({ commit: sha, ...expected });
  });

  it.each([{ sha: undefined }, { sha: 'main' }, { id: 5 }, { id: '../x' }, { id: 'org/name\u001b[31m' }])(
    'is refused: %j',
    async (body) => {
      expect(await codeOf(info(body))).toBe('E_PROTOCOL');
    },
  );
});

describe('what a hub lists', () => {
  const files = (body: unknown): Promise<RepoFile[]> => readFiles(name, sha, hub(body));

  it('is taken when size and hash are such', async () => {
    const lfs = { ...entry, path: 'b', lfs: { oid: '3'.repeat(64), size: 7 } };
    expect(await files([entry, lfs, { type: 'directory', path: 'x', oid: '', size: 0 }])).toEqual([
      { path: 'a', size: 1, checksum: { algorithm: 'git-sha1', hex: entry.oid }, gitOid: entry.oid },
      {
        path: 'b',
        size: 7,
        checksum: { algorithm: 'sha256', hex: '3'.repeat(64) },
        gitOid: entry.oid,
        sha256: '3'.repeat(64),
      },
    ]);
  });

  it.each<[string, unknown]>([
    ['no list', null],
    ['a list of nothing', [null]],
    ...[-1, 1.5, '10', null, undefined, 2 ** 60].map((size): [string, unknown] => [
      `a size of ${JSON.stringify(size)}`,
      [{ ...entry, size }],
    ]),
    ['a size of LFS below nothing', [{ ...entry, lfs: { oid: '3'.repeat(64), size: -1 } }]],
    ['no hash', [{ ...entry, oid: undefined }]],
    ['a hash with its name', [{ ...entry, lfs: { oid: `sha256:${'3'.repeat(64)}`, size: 1 } }]],
    ['no hash of LFS', [{ ...entry, lfs: {} }]],
    ['a path that is none', [{ ...entry, path: 5 }]],
  ])('is refused: %s', async (_, body) => {
    expect(await codeOf(files(body))).toBe('E_PROTOCOL');
  });
});
