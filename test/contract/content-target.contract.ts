import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../../src/core/descriptor.ts';
import type { Digest } from '../../src/core/digest.ts';
import { MirrorError } from '../../src/core/errors.ts';
import type { ContentTarget } from '../../src/core/ports.ts';
import { contentOf } from '../../src/core/stream.ts';
import { blobOf, collect, watchedContent } from '../support/contents.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  type BuiltImage,
  descriptorOf,
  MEDIA_TYPES,
} from '../support/images.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

/** A place of its own for each test: nothing is in it, and `cleanup` throws when something went wrong behind the scenes. */
export interface TargetUnderTest {
  target: ContentTarget;
  cleanup: () => Promise<void>;
}

const missing: Descriptor = blobOf(Buffer.from('nobody ever pushed this'));
const missingManifest: Descriptor = { ...missing, mediaType: MEDIA_TYPES.ociManifest };

/** As the source's side of the project names it. */
function nameOf(image: BuiltImage): Descriptor {
  return descriptorOf(image) as Descriptor;
}

/** Everything below a manifest, and then itself. */
async function pushImage(target: ContentTarget, image: BuiltImage): Promise<void> {
  for (const [digest, bytes] of image.blobs)
    await target.push({ ...blobOf(bytes), digest: digest as Digest }, contentOf(bytes));
  for (const [digest, { mediaType, bytes }] of image.manifests)
    await target.push({ mediaType, digest: digest as Digest, size: bytes.length }, contentOf(bytes));
}

async function read(target: ContentTarget, descriptor: Descriptor, offset = 0): Promise<Buffer> {
  return collect((await target.fetch(descriptor)).open(offset));
}

const byDigest = (a: Descriptor, b: Descriptor): number => (a.digest < b.digest ? -1 : 1);

/** What every place that images are read from and written to has to do, whatever it is made of. */
export function contentTargetContract(
  name: string,
  make: () => Promise<TargetUnderTest>,
  { attaches = true }: { attaches?: boolean } = {},
): void {
  const withTarget: WithTarget = async (work) => {
    const { target, cleanup } = await make();
    try {
      await work(target);
    } finally {
      await cleanup();
    }
  };

  describe(`${name}: blobs`, () => {
    it('are there after they were pushed, and not before', async () => {
      await withTarget(async (target) => {
        const bytes = seededBytes('blob', 300_000);
        const blob = blobOf(bytes);

        expect(await target.exists(blob)).toBe(false);
        await target.push(blob, contentOf(bytes));

        expect(await target.exists(blob)).toBe(true);
        expect((await target.fetch(blob)).size).toBe(bytes.length);
        expect((await read(target, blob)).equals(bytes)).toBe(true);
      });
    });

    it('may be empty', async () => {
      await withTarget(async (target) => {
        const empty = blobOf(Buffer.alloc(0));

        await target.push(empty, contentOf(Buffer.alloc(0)));

        expect(await target.exists(empty)).toBe(true);
        expect(await read(target, empty)).toHaveLength(0);
      });
    });

    it('may be pushed again', async () => {
      await withTarget(async (target) => {
        const bytes = seededBytes('again', 1000);

        await target.push(blobOf(bytes), contentOf(bytes));
        await target.push(blobOf(bytes), contentOf(bytes));

        expect((await read(target, blobOf(bytes))).equals(bytes)).toBe(true);
      });
    });

    it('can be opened at any offset, several times', async () => {
      await withTarget(async (target) => {
        const bytes = seededBytes('offsets', 200_000);
        const blob = blobOf(bytes);
        await target.push(blob, contentOf(bytes));
        const content = await target.fetch(blob);

        for (const offset of [1, 65_536, 199_999, 200_000, 0])
          expect((await collect(content.open(offset))).equals(bytes.subarray(offset))).toBe(true);
      });
    });

    it('can be left in the middle', async () => {
      await withTarget(async (target) => {
        const bytes = seededBytes('left', 500_000);
        const blob = blobOf(bytes);
        await target.push(blob, contentOf(bytes));

        for await (const chunk of (await target.fetch(blob)).open(0)) {
          expect(chunk.length).toBeGreaterThan(0);
          break;
        }

        expect((await read(target, blob)).equals(bytes)).toBe(true);
      });
    });

    it('that are not there are told', async () => {
      await withTarget(async (target) => {
        expect(await target.exists(missing)).toBe(false);
        expect(await codeOf(read(target, missing))).toBe('E_NOT_FOUND');
      });
    });
  });

  describe(`${name}: what is pushed is verified`, () => {
    const bytes = seededBytes('right', 200_000);
    const right = blobOf(bytes);
    const cases: [string, Uint8Array, string][] = [
      ['other bytes', seededBytes('wrong', bytes.length), 'E_DIGEST_MISMATCH'],
      ['one other bit at the end', flipLast(bytes), 'E_DIGEST_MISMATCH'],
      ['one byte less', bytes.subarray(0, -1), 'E_SIZE_MISMATCH'],
      ['one byte more', Buffer.concat([bytes, Buffer.from('x')]), 'E_SIZE_MISMATCH'],
      ['much more', Buffer.concat([bytes, bytes, bytes]), 'E_SIZE_MISMATCH'],
      ['nothing', Buffer.alloc(0), 'E_SIZE_MISMATCH'],
    ];

    it.each(cases)('%s, and nothing can be seen', async (_, wrong, code) => {
      await withTarget(async (target) => {
        expect(await codeOf(target.push(right, watchedContent(wrong)))).toBe(code);

        expect(await target.exists(right)).toBe(false);
        expect(await codeOf(read(target, right))).toBe('E_NOT_FOUND');
        await target.push(right, contentOf(bytes));
        expect((await read(target, right)).equals(bytes)).toBe(true);
      });
    });

    it('bytes where none were announced', async () => {
      await withTarget(async (target) => {
        const empty = blobOf(Buffer.alloc(0));

        expect(await codeOf(target.push(empty, contentOf(Buffer.from('x'))))).toBe('E_SIZE_MISMATCH');

        expect(await target.exists(empty)).toBe(false);
      });
    });

    it.each<[string, (bytes: Uint8Array) => Uint8Array, string]>([
      ['other bytes', flipLast, 'E_DIGEST_MISMATCH'],
      ['one byte less', (all) => all.subarray(0, -1), 'E_SIZE_MISMATCH'],
      ['one byte more', (all) => Buffer.concat([all, Buffer.from('\n')]), 'E_SIZE_MISMATCH'],
    ])('manifests too: %s', async (_, change, code) => {
      await withTarget(async (target) => {
        const image = buildImage({ seed: 'manifest' });
        for (const blob of image.blobs.values()) await target.push(blobOf(blob), contentOf(blob));

        expect(await codeOf(target.push(nameOf(image), contentOf(change(image.bytes))))).toBe(code);

        expect(await target.exists(nameOf(image))).toBe(false);
      });
    });

    it('a source that breaks is told as it is, and nothing can be seen', async () => {
      await withTarget(async (target) => {
        const broken = new MirrorError('E_NETWORK', 'the source broke', { at: { side: 'source', item: 'x' } });
        const content = watchedContent(bytes, { broken: (position) => (position > 100_000 ? broken : undefined) });

        const error = await failureOf(target.push(right, content));

        expect([error.code, error.at.side]).toEqual(['E_NETWORK', 'source']);
        expect(await target.exists(right)).toBe(false);
        await target.push(right, contentOf(bytes));
        expect((await read(target, right)).equals(bytes)).toBe(true);
      });
    });

    it('an interruption leaves nothing to be seen, and the next try succeeds', async () => {
      await withTarget(async (target) => {
        const controller = new AbortController();
        const content = watchedContent(bytes, {
          broken: (position) => {
            if (position > 100_000) controller.abort();
            return undefined;
          },
        });

        expect(await codeOf(target.push(right, content, controller.signal))).toBe('E_ABORTED');

        expect(await target.exists(right)).toBe(false);
        await target.push(right, contentOf(bytes));
        expect((await read(target, right)).equals(bytes)).toBe(true);
      });
    });
  });

  describe(`${name}: manifests and tags`, () => {
    it.each([
      ['image', buildImage({ seed: 'image' })],
      ['docker image', buildImage({ seed: 'image', docker: true })],
      ['index', buildIndex({ children: [buildImage({ seed: 1 }), buildImage({ seed: 2 })] })],
      ['docker list', buildIndex({ children: [buildImage({ seed: 1, docker: true })], docker: true })],
      ['index of indexes', buildIndex({ children: [buildIndex({ children: [buildImage({ seed: 3 })] })] })],
      ['artifact', buildArtifact({ seed: 'artifact', artifactType: 'application/x.test' })],
    ])('an %s is found by its tag, byte for byte', async (_, image) => {
      await withTarget(async (target) => {
        const { mediaType, digest, size } = nameOf(image);

        expect(await target.exists(nameOf(image))).toBe(false);
        await pushImage(target, image);
        await target.tag(nameOf(image), 'v1.0');

        expect(await target.resolve('v1.0')).toMatchObject({ mediaType, digest, size });
        expect(await target.resolve(digest)).toMatchObject({ mediaType, digest, size });
        expect(await target.exists(nameOf(image))).toBe(true);
        expect((await read(target, nameOf(image))).equals(image.bytes)).toBe(true);
        expect(await target.tags()).toEqual(['v1.0']);
      });
    });

    it('a tag moves, and others stay', async () => {
      await withTarget(async (target) => {
        const [old, fresh] = [buildImage({ seed: 'old' }), buildImage({ seed: 'fresh' })];
        for (const image of [old, fresh]) await pushImage(target, image);
        await target.tag(nameOf(old), 'latest');
        await target.tag(nameOf(old), 'old');

        await target.tag(nameOf(fresh), 'latest');

        expect((await target.resolve('latest')).digest).toBe(fresh.digest);
        expect((await target.resolve('old')).digest).toBe(old.digest);
        expect((await target.tags()).toSorted()).toEqual(['latest', 'old']);
      });
    });

    it('what nobody pushed is not found', async () => {
      await withTarget(async (target) => {
        expect(await target.tags()).toEqual([]);
        expect(await codeOf(target.resolve('latest'))).toBe('E_NOT_FOUND');
        expect(await codeOf(target.resolve(missingManifest.digest))).toBe('E_NOT_FOUND');
        expect(await target.exists(missingManifest)).toBe(false);
        expect(await codeOf(read(target, missingManifest))).toBe('E_NOT_FOUND');
      });
    });
  });

  const referrers = attaches ? referrersContract : noReferrersContract;
  referrers(name, withTarget);
}

type WithTarget = (work: (target: ContentTarget) => Promise<void>) => Promise<void>;

const subject = buildImage({ seed: 'subject' });
const referrer = (seed: number): BuiltImage =>
  buildArtifact({
    seed,
    artifactType: `application/x.kind-${seed}`,
    subject: descriptorOf(subject),
    annotations: { number: String(seed) },
  });

const pushAll = async (target: ContentTarget, images: readonly BuiltImage[]): Promise<void> => {
  for (const image of images) await pushImage(target, image);
  await target.tag(nameOf(subject), 'subject');
};

function referrersContract(name: string, withTarget: WithTarget): void {
  describe(`${name}: referrers`, () => {
    it('are none at first', async () => {
      await withTarget(async (target) => {
        await pushAll(target, [subject]);

        expect(await target.referrers(nameOf(subject))).toEqual([]);
        expect(await target.referrers(missingManifest)).toEqual([]);
      });
    });

    it('are found with their kind and annotations', async () => {
      await withTarget(async (target) => {
        const sbom = referrer(1);
        await pushAll(target, [subject, sbom]);

        await target.attach(nameOf(subject), [{ ...nameOf(sbom), annotations: { number: '1' } }]);

        const { mediaType, digest, size } = nameOf(sbom);
        expect(await target.referrers(nameOf(subject))).toMatchObject([
          { mediaType, digest, size, artifactType: 'application/x.kind-1', annotations: { number: '1' } },
        ]);
      });
    });

    it('add up, and none comes twice', async () => {
      await withTarget(async (target) => {
        const [one, two, three] = [referrer(1), referrer(2), referrer(3)];
        await pushAll(target, [subject, one, two, three]);

        await target.attach(nameOf(subject), [nameOf(one), nameOf(two)]);
        await target.attach(nameOf(subject), [nameOf(two), nameOf(three)]);
        await target.attach(nameOf(subject), []);

        const found = (await target.referrers(nameOf(subject))).map(({ digest }) => digest);
        expect(found.toSorted()).toEqual([one, two, three].map(({ digest }) => digest).toSorted());
      });
    });

    it('are never lost when they are attached at the same time', async () => {
      await withTarget(async (target) => {
        const many = Array.from({ length: 8 }, (_, index) => referrer(index));
        await pushAll(target, [subject, ...many]);

        await Promise.all(many.map((each) => target.attach(nameOf(subject), [nameOf(each)])));

        const found = await target.referrers(nameOf(subject));
        expect(found.toSorted(byDigest).map(({ digest }) => digest)).toEqual(
          many.map(({ digest }) => digest as Digest).toSorted(),
        );
      });
    });

    it('of one subject are not those of another', async () => {
      await withTarget(async (target) => {
        const other = buildImage({ seed: 'other' });
        const sbom = referrer(1);
        await pushAll(target, [subject, other, sbom]);
        await target.tag(nameOf(other), 'other');

        await target.attach(nameOf(subject), [nameOf(sbom)]);

        expect(await target.referrers(nameOf(other))).toEqual([]);
      });
    });

    it('may have referrers themselves', async () => {
      await withTarget(async (target) => {
        const sbom = referrer(1);
        const signature = buildArtifact({
          seed: 'sig',
          artifactType: 'application/x.sig',
          subject: descriptorOf(sbom),
        });
        await pushAll(target, [subject, sbom, signature]);

        await target.attach(nameOf(subject), [nameOf(sbom)]);
        await target.attach(nameOf(sbom), [nameOf(signature)]);

        expect((await target.referrers(nameOf(sbom))).map(({ digest }) => digest)).toEqual([signature.digest]);
      });
    });
  });
}

/** A registry that lists no referrers and keeps the tag for them to itself. */
function noReferrersContract(name: string, withTarget: WithTarget): void {
  describe(`${name}: referrers`, () => {
    it('that cannot be found there are refused', async () => {
      await withTarget(async (target) => {
        await pushAll(target, [subject, referrer(1)]);

        expect(await codeOf(target.attach(nameOf(subject), [nameOf(referrer(1))]))).toBe('E_REFUSED');
        expect((await target.resolve('subject')).digest).toBe(subject.digest);
      });
    });
  });
}

function flipLast(bytes: Uint8Array): Uint8Array {
  const changed = Buffer.from(bytes);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
}
