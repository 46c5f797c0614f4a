import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { contentOf } from '../../src/core/stream.ts';
import { blobOf, collect } from '../support/contents.ts';
import { copyUser } from '../support/copying.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { buildImage, type BuiltImage, descriptorOf } from '../support/images.ts';
import { withRegistry } from '../support/pushing.ts';
import type { RegistryOptions } from '../support/registry.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import type { FaultPlan } from '../support/server.ts';

const repository = 'team/app';
const image = buildImage({ seed: 'image' });
const other = buildImage({ seed: 'other' });
const nameOf = (built: BuiltImage): Descriptor => descriptorOf(built) as Descriptor;

async function pushImage(target: ContentTarget, { blobs, ...built }: BuiltImage): Promise<void> {
  for (const bytes of blobs.values()) await target.push(blobOf(bytes), contentOf(bytes));
  await target.push(nameOf({ blobs, ...built }), contentOf(built.bytes));
}

describe('a tag that may not be moved', () => {
  const statuses = [400, 403, 409, 412];

  it.each(statuses)('is as wanted when it holds the same digest (%i)', async (immutableTags) => {
    await withRegistry({ immutableTags }, async ({ registry, target }) => {
      registry.put(repository, image, 'v1');

      await target().tag(nameOf(image), 'v1');

      expect(registry.manifest(repository, 'v1')?.digest).toBe(image.digest);
    });
  });

  it.each(statuses)('is refused when it holds another one, and both are named (%i)', async (immutableTags) => {
    await withRegistry({ immutableTags }, async ({ registry, target }) => {
      registry.put(repository, other, 'v1');
      await pushImage(target(), image);

      const error = await failureOf(target().tag(nameOf(image), 'v1'));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      for (const part of [image.digest, other.digest, `${repository}:v1`]) expect(error.message).toContain(part);
      expect(registry.manifest(repository, 'v1')?.digest).toBe(other.digest);
    });
  });
});

describe('a repository that has to be made first', () => {
  it('is refused with the command that makes it', async () => {
    await withRegistry({ createFirst: true }, async ({ registry, target }) => {
      const bytes = seededBytes('blob', 100);

      const error = await failureOf(target().push(blobOf(bytes), contentOf(bytes)));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      expect(error.hint).toContain(`aws ecr create-repository --repository-name ${repository}`);
      registry.create(repository);
      await target().push(blobOf(bytes), contentOf(bytes));
    });
  });
});

describe('a repository that is not there', () => {
  it('is not found by those who read', async () => {
    await withRegistry({ createFirst: true }, async ({ target }) => {
      const blob = blobOf(seededBytes('blob', 10));

      expect(await codeOf(collect((await target().fetch(blob)).open(0)))).toBe('E_NOT_FOUND');
      expect(await codeOf(target().resolve('v1'))).toBe('E_NOT_FOUND');
      expect(await target().exists(blob)).toBe(false);
      expect(await target().tags()).toEqual([]);
      expect(await target().isEmpty?.()).toBe(true);
    });
  });
});

describe('a registry that changes manifests', () => {
  it('is refused, and both digests are named', async () => {
    await withRegistry({ normalises: true }, async ({ registry, target }) => {
      const error = await failureOf(pushImage(target(), image));

      expect([error.code, error.at.side]).toEqual(['E_REFUSED', 'target']);
      const made = /sha256:[0-9a-f]{64}/.exec(error.message.replaceAll(image.digest, ''))?.[0] ?? '';
      expect(registry.manifest(repository, made)).toBeDefined();
      expect(error.message).toContain(image.digest);
    });
  });
});

describe('a registry that takes nothing', () => {
  it.each<[RegistryOptions['readOnly'], string]>([
    [true, 'E_REFUSED'],
    [403, 'E_AUTH'],
  ])('says that it is read-only (%s)', async (readOnly, code) => {
    await withRegistry({ readOnly: readOnly ?? false }, async ({ target }) => {
      const bytes = seededBytes('blob', 100);

      const error = await failureOf(target().push(blobOf(bytes), contentOf(bytes)));

      expect([error.code, error.at.side]).toEqual([code, 'target']);
      expect(`${error.message} ${error.hint}`).toContain('read-only');
    });
  });
});

describe('a HEAD that does not tell', () => {
  const headSays =
    (digest: string, size: number): FaultPlan =>
    ({ method }) => {
      const headers = {
        'content-type': image.mediaType,
        'docker-content-digest': digest,
        'content-length': String(size),
      };
      return method === 'HEAD' ? { kind: 'status', status: 200, headers } : undefined;
    };

  it('digest and media type is followed by a GET', async () => {
    await withRegistry({ bareHead: true }, async ({ registry, target }) => {
      registry.put(repository, image, 'v1');

      expect(await target().resolve('v1')).toEqual(nameOf({ ...image, platform: undefined } as never));
    });
  });

  it('at all is followed by a GET', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      registry.put(repository, image, 'v1');
      registry.server.faults = ({ method }) => (method === 'HEAD' ? { kind: 'status', status: 405 } : undefined);

      expect((await target().resolve('v1')).digest).toBe(image.digest);
    });
  });

  it.each(['application/json', 'text/plain; charset=utf-8', ''])(
    'a type of manifests but %j is followed by a GET',
    async (type) => {
      await withRegistry({}, async ({ registry, target }) => {
        registry.put(repository, image, 'v1');
        registry.server.faults = ({ path }) =>
          path.endsWith('/v1')
            ? {
                kind: 'status',
                status: 200,
                headers: { 'content-type': type, 'docker-content-digest': image.digest },
                body: Buffer.from(image.bytes).toString(),
              }
            : undefined;

        const found = await target().resolve('v1');

        expect(found).toEqual(nameOf({ ...image, platform: undefined } as never));
        expect(registry.server.count(/^GET .*v1$/)).toBe(1);
        expect((await collect((await target().fetch(found)).open(0))).equals(image.bytes)).toBe(true);
      });
    },
  );

  it('the size is followed by a GET', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      registry.put(repository, image, 'v1');
      registry.server.faults = headSays(image.digest, 0);

      expect((await target().resolve('v1')).size).toBe(image.bytes.length);
    });
  });

  it('the digest of what the tag gives is told, with the digest to ask for', async () => {
    await withRegistry({}, async ({ registry, once }) => {
      registry.put(repository, image, 'v1');
      registry.server.faults = headSays(other.digest, 99);
      const source = once(repository, 'source');
      const said = await source.resolve('v1');

      const error = await failureOf(source.fetch(said).then(async (content) => collect(content.open(0))));

      expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'source']);
      expect(error.hint).toContain(`${repository}@${image.digest}`);
    });
  });

  it('but names docker schema 1 is said to be that', async () => {
    await withRegistry({}, async ({ registry, once }) => {
      const headers = {
        'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws',
        'docker-content-digest': image.digest,
      };
      registry.server.faults = () => ({
        kind: 'status',
        status: 200,
        headers,
        body: '{"schemaVersion":1,"fsLayers":[]}',
      });

      const error = await failureOf(once(repository, 'source').resolve('v1'));

      expect([error.code, error.at.side]).toEqual(['E_PROTOCOL', 'source']);
      expect(error.message).toContain('schema 1');
    });
  });

  it('missing from forbidden is no reason not to push', async () => {
    await withRegistry({ absentHeadStatus: 403 }, async ({ registry, target }) => {
      expect(await target().exists(nameOf(image))).toBe(false);
      expect(await target().exists(blobOf(seededBytes('blob', 10)))).toBe(false);
      expect(await codeOf(target().resolve('v1'))).toBe('E_NOT_FOUND');
      await pushImage(target(), image);
      await target().tag(nameOf(image), 'v1');

      expect(registry.manifest(repository, 'v1')?.digest).toBe(image.digest);
    });
  });

  it('missing from forbidden stays forbidden at a source', async () => {
    await withRegistry({ absentHeadStatus: 403 }, async ({ once }) => {
      expect(await codeOf(once(repository, 'source').resolve('v1'))).toBe('E_AUTH');
      expect(await codeOf(once(repository, 'source').exists(nameOf(image)))).toBe('E_AUTH');
    });
  });
});

describe('a 401 that does not say what is wanted', () => {
  it.each(['basic', 'bearer'] as const)('is explained by the root of the registry: %s', async (kind) => {
    await withRegistry({ auth: { kind, ...copyUser }, silentChallenge: true }, async ({ registry, target }) => {
      await pushImage(target(), image);

      expect(registry.manifest(repository, image.digest)).toBeDefined();
      expect(registry.server.count(/^GET \/v2\/$/)).toBe(1);
    });
  });
});

describe('blobs that come into sight late', () => {
  it('are waited for, and not sent again', async () => {
    await withRegistry({ seesBlobsAfter: 3 }, async ({ registry, target }) => {
      await pushImage(target(), image);

      expect(registry.manifest(repository, image.digest)).toBeDefined();
      expect(registry.server.count(/^POST/)).toBe(image.blobs.size);
    });
  });

  it('are missing in the end when they stay out of sight', async () => {
    await withRegistry({ seesBlobsAfter: 100 }, async ({ target }) => {
      expect(await codeOf(pushImage(target(), image))).toBe('E_BLOB_UNKNOWN');
    });
  });

  it('are told at once when they were never sent: whoever copies sends them', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      expect(await codeOf(target().push(nameOf(image), contentOf(image.bytes)))).toBe('E_BLOB_UNKNOWN');

      expect(registry.server.count(/^PUT/)).toBe(1);
    });
  });
});

describe('isEmpty', () => {
  it.each<[string, RegistryOptions]>([
    ['404', {}],
    ['an empty list', { emptyTags: true }],
  ])('is so after %s, which costs one request', async (_, options) => {
    await withRegistry(options, async ({ target, log }) => {
      expect(await target().isEmpty?.()).toBe(true);
      expect(log()).toEqual([`GET ${repository}/tags/list?n=1`]);
    });
  });

  it('is not so once there is a tag', async () => {
    await withRegistry({}, async ({ registry, target }) => {
      registry.put(repository, image, 'v1');

      expect(await target().isEmpty?.()).toBe(false);
    });
  });

  it.each([
    ['403', { kind: 'status', status: 403 }],
    ['503', { kind: 'status', status: 503 }],
    ['no JSON', { kind: 'status', status: 200, body: '<html>' }],
    ['other JSON', { kind: 'status', status: 200, body: '{"tags":7}' }],
    ['a broken connection', { kind: 'lost' }],
  ] as const)('is not so after %s', async (_, fault) => {
    await withRegistry({}, async ({ registry, once }) => {
      registry.server.faults = () => fault;

      expect(await once().isEmpty?.()).toBe(false);
    });
  });
});

describe('tagging', () => {
  it('what was just pushed reads nothing', async () => {
    await withRegistry({}, async ({ target, log }) => {
      await pushImage(target(), image);
      log();

      await target().tag(nameOf(image), 'v1');

      expect(log()).toEqual([`PUT ${repository}/manifests/v1`]);
    });
  });

  it('what was pushed long ago reads it again: not every manifest is kept', async () => {
    await withRegistry({ missingBlobs: true }, async ({ registry, target, log }) => {
      const built = (seed: number): BuiltImage =>
        buildImage({ seed, layers: 0, annotations: { text: 'x'.repeat(3_000_000) } });
      const [first, ...later] = [built(1), ...[2, 3, 4].map(built)] as const;
      for (const each of [first, ...later]) await target().push(nameOf(each), contentOf(each.bytes));
      log();

      await target().tag(nameOf(first), 'v1');

      expect(log()).toEqual([`GET ${repository}/manifests/DIGEST`, `PUT ${repository}/manifests/v1`]);
      expect(registry.manifest(repository, 'v1')?.digest).toBe(first.digest);
    });
  });
});

describe('a host that tells one request to wait', () => {
  it('is left alone by those for its other repositories too', async () => {
    const events: string[] = [];
    let goOn = (): void => {};
    const paused = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 2, maxWaitMs: 5000, onRetry: () => goOn() };
    await withRegistry(
      {},
      async ({ registry, facts, target }) => {
        registry.server.faults = ({ method, path }) => {
          events.push(`${method} ${path.split('/')[2]} ${facts.pause.leftMs > 0 ? 'too early' : 'in time'}`);
          return events.length === 1 ? { kind: 'status', status: 429, headers: { 'retry-after': '1' } } : undefined;
        };
        const bytes = seededBytes('blob', 10);

        const first = target('first').exists(blobOf(bytes));
        await paused;
        await Promise.all([
          target('second').exists(blobOf(bytes)),
          target('third').push(blobOf(bytes), contentOf(bytes)),
          codeOf(collect((await target('fourth').fetch(blobOf(bytes))).open(0))),
          first,
        ]);

        expect(events).toHaveLength(6);
        expect(events.filter((event) => event.endsWith('too early'))).toEqual([]);
      },
      { retry },
    );
  });

  it('is left alone by uploads that are under way', async () => {
    const events: string[] = [];
    let goOn = (): void => {};
    const paused = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 2, maxWaitMs: 5000, onRetry: () => goOn() };
    const [one, other] = [seededBytes('one', 10), seededBytes('other', 10)];
    await withRegistry(
      {},
      async ({ registry, facts, target }) => {
        // The first upload is opened, and then hears nothing until the second was told to wait.
        registry.server.gate = ({ method }) => (method === 'POST' && events.length === 1 ? paused : undefined);
        registry.server.faults = ({ method }) => {
          events.push(`${method} ${facts.pause.leftMs > 0 ? 'too early' : 'in time'}`);
          return events.length === 2 ? { kind: 'status', status: 429, headers: { 'retry-after': '1' } } : undefined;
        };

        const to = target();
        await Promise.all([to.push(blobOf(one), contentOf(one)), to.push(blobOf(other), contentOf(other))]);

        expect(events).toHaveLength(5);
        expect(events.filter((event) => event.endsWith('too early'))).toEqual([]);
      },
      { retry },
    );
  });
});
