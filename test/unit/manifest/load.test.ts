import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import { loadManifest } from '../../../src/manifest/load.ts';
import { type Lock, lockSchemaId } from '../../../src/manifest/schema.ts';
import { codeOf, failureOf } from '../../support/failures.ts';

const head = 'apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: site-a }\n';
const load = (text: string): ReturnType<typeof loadManifest> => loadManifest(text, 'mirror.yaml');

describe('a mirror manifest', () => {
  it('may leave out every list', async () => {
    expect(await load(head)).toEqual({
      kind: 'manifest',
      manifest: {
        apiVersion: 'sie-mirror/v1',
        kind: 'MirrorManifest',
        metadata: { name: 'site-a' },
        models: [],
        images: [],
        rewrite: [],
        files: [],
      },
    });
  });

  it('takes of a model what an SIE worker would fetch, unless it says otherwise', async () => {
    const text = `${head}models: [{ repo: a/b }, { repo: c/d, type: dataset, filter: all, include: ['*.json'], companions: true }]\n`;

    expect(await load(text)).toMatchObject({
      manifest: {
        models: [
          { type: 'model', filter: 'sie', include: [], exclude: [], companions: false },
          { type: 'dataset', filter: 'all', include: ['*.json'], companions: true },
        ],
      },
    });
  });

  it('holds models, images and rewrite rules', async () => {
    const text = `${head}
models:
  - repo: BAAI/bge-m3
  - { repo: a/b, revision: v1.0 }
images:
  - { ref: "nats:2.12.6-alpine", to: nats }
rewrite:
  - { from: ghcr.io/x/, to: x/ }
`;

    expect(await load(text)).toMatchObject({
      manifest: {
        models: [{ repo: 'BAAI/bge-m3' }, { repo: 'a/b', revision: 'v1.0' }],
        images: [{ ref: 'nats:2.12.6-alpine', to: 'nats' }],
        rewrite: [{ from: 'ghcr.io/x/', to: 'x/' }],
      },
    });
  });

  it.each([
    ['model: []', 'models'],
    ['imges: []', 'images'],
    ['models:\n  - { repo: a/b, revison: x }', 'revision'],
    ['images:\n  - { ref: a, two: x }', 'to'],
    ['rewrite:\n  - { frm: a, to: b }', 'from'],
  ])('has an unknown key answered with the nearest known one: %j', async (text, nearest) => {
    const error = await failureOf(load(head + text));

    expect(error.code).toBe('E_MANIFEST');
    expect(error.hint).toContain(`\`${nearest}\``);
  });

  it('has a key that is near to none answered with all that are known', async () => {
    const error = await failureOf(load(`${head}somethingElse: 1\n`));

    expect(error.code).toBe('E_MANIFEST');
    for (const key of ['models', 'images', 'rewrite']) expect(error.hint).toContain(`\`${key}\``);
  });

  it('never prints the escapes of a hostile key', async () => {
    const error = await failureOf(load(`${head}"\\e[31mx": 1\n`));

    expect(error.code).toBe('E_MANIFEST');
    expect(error.message).not.toContain('\u001b');
  });

  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
`;

  it.each<[string, string]>([
    ['nothing', ''],
    ['a list', '- a\n'],
    ['text', 'just text'],
    ['a number', '1'],
    ['broken YAML', `${head}models: [`],
    ['bad indentation', `${head}models:\n- repo: a\n   revision: b\n`],
    ['one key twice', `${head}models: []\nmodels: []\n`],
    ['two documents', `${head}---\n${head}`],
    ['a tab for indentation', `${head}models:\n\t- repo: a\n`],
    ['an unknown anchor', `${head}models: *x\n`],
    ['an anchor that grows without end', bomb],
    ['another version', head.replace('/v1', '/v2')],
    ['another kind', head.replace('MirrorManifest', 'Deployment')],
    ['a name with a slash', head.replace('site-a', 'a/b')],
    ['a name that climbs', head.replace('site-a', '..')],
    ['no name', head.replace('name: site-a', '')],
    ['a model that is text', `${head}models: [BAAI/bge-m3]\n`],
    ['a filter that there is not', `${head}models: [{ repo: a/b, filter: most }]\n`],
    ['an empty pattern', `${head}models: [{ repo: a/b, exclude: [''] }]\n`],
    ['a file whose hash is too short', `${head}files: [{ url: 'https://x/y', sha256: abc }]\n`],
    ['a file whose name climbs', `${head}files: [{ url: 'https://x/y', name: ../y }]\n`],
    ['an image without a reference', `${head}images: [{ to: x }]\n`],
    ['a key of prototypes', `${head}__proto__: { models: [] }\n`],
  ])('is refused: %s', async (_, text) => {
    expect(await codeOf(load(text))).toBe('E_MANIFEST');
  });
});

describe('a lock', () => {
  const digest = sha256('x');

  function sample(): Lock {
    return {
      schema: lockSchemaId,
      name: 'site-a',
      models: [
        {
          type: 'model',
          repo: 'org/name',
          revision: 'refs/pr/1',
          canonical: 'org/name',
          commit: 'a'.repeat(40),
          gated: false,
          license: 'mit',
          files: [
            {
              path: 'a/größe.txt',
              size: 1,
              checksum: { algorithm: 'sha256', hex: 'b'.repeat(64) },
              gitOid: 'c'.repeat(40),
            },
            {
              path: 'config.json',
              size: 1,
              checksum: { algorithm: 'git-sha1', hex: 'c'.repeat(40) },
              gitOid: 'c'.repeat(40),
            },
          ],
        },
      ],
      images: [{ reference: 'r.example/a:t', root: { mediaType: 'x/y', digest, size: 1 }, bytes: 10, to: 'a' }],
      files: [{ url: 'https://files.example/x.gguf', name: 'x.gguf', size: 1, sha256: 'd'.repeat(64) }],
    };
  }

  type Change = (
    lock: { models: Record<string, unknown>[]; images: Record<string, unknown>[] } & Record<string, unknown>,
  ) => void;
  const changed = (change: Change): string => {
    const lock = structuredClone(sample()) as unknown as Parameters<Change>[0];
    change(lock);
    return JSON.stringify(lock);
  };
  const file =
    (change: Record<string, unknown>): Change =>
    (lock) => {
      const [model] = sample().models;
      Object.assign(lock.models[0] ?? {}, { files: [{ ...model?.files[0], ...change }] });
    };
  const model =
    (change: Record<string, unknown>): Change =>
    (lock) =>
      Object.assign(lock.models[0] ?? {}, change);
  const image =
    (change: Record<string, unknown>): Change =>
    (lock) =>
      Object.assign(lock.images[0] ?? {}, change);

  it('is read as it was written', async () => {
    expect(await loadManifest(JSON.stringify(sample(), undefined, 1), 'mirror.lock.json')).toEqual({
      kind: 'lock',
      lock: sample(),
    });
  });

  it.each(['../x', '/etc/passwd', 'a/../../x', 'a\\b', 'C:/x', '', 'a\u0000'])(
    'is refused with a file at %j',
    async (path) => {
      expect((await failureOf(load(changed(file({ path }))))).exit).toBe(4);
    },
  );

  it.each<[string, Change]>([
    ['a hash that climbs', file({ checksum: { algorithm: 'sha256', hex: '../../../../etc/x' } })],
    ['a hash that is too short', file({ checksum: { algorithm: 'sha256', hex: 'abc' } })],
    [
      'a hash of another length than its algorithm has',
      file({ checksum: { algorithm: 'sha256', hex: 'a'.repeat(40) } }),
    ],
    ['an unknown algorithm', file({ checksum: { algorithm: 'md5', hex: 'a'.repeat(32) } })],
    ['a negative size', file({ size: -1 })],
    ['a size beyond counting', file({ size: 1e300 })],
    ['a commit that is a branch', model({ commit: 'main' })],
    ['a commit that climbs', model({ commit: '../x' })],
    ['a revision that climbs', model({ revision: '../../../../etc/cron.d/x' })],
    ['a revision that is absolute', model({ revision: '/etc/x' })],
    ['a repo that climbs', model({ repo: '../../x' })],
    ['a repo that is empty', model({ repo: '' })],
    ['an image whose digest is none', image({ root: { mediaType: 'x/y', digest: 'sha256:x', size: 1 } })],
    ['an image of no size', image({ bytes: 'x' })],
    ['a name that climbs', (lock) => Object.assign(lock, { name: '../x' })],
    ['an unknown key', (lock) => Object.assign(lock, { extra: 1 })],
    ['no models', (lock) => Object.assign(lock, { models: undefined })],
  ])('is refused with %s', async (_, change) => {
    expect([2, 4]).toContain((await failureOf(load(changed(change)))).exit);
  });
});
