import { mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseReceipt, type Receipt } from '../../src/bundle/records/receipt.ts';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { copy } from '../../src/commands/copy.ts';
import { importBundle } from '../../src/commands/import.ts';
import type { ImportOptions } from '../../src/commands/import/options.ts';
import { verifyZone } from '../../src/commands/verify/zone.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { buildArtifact, cosignSignature, cosignTag, descriptorOf, multiArch } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startRegistry, type RegistryOptions, type TestRegistry } from '../support/registry.ts';
import { placeTool } from '../support/tool.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const image = multiArch('signed');
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(image) });
const signature = cosignSignature(image);
const plain = multiArch('plain');

beforeAll(async () => {
  place = await temporaryDirectory();
  const source = await startRegistry();
  source.put('app', image, 'v1');
  source.put('app', sbom);
  source.put('app', signature, cosignTag(image.digest));
  source.put('plain', plain, 'v1');
  const { context } = await testContext({
    cwd: place.path,
    insecureHosts: [source.host],
    toolFile: await placeTool(place.path),
  });
  for (const name of ['app', 'plain'])
    await copy({ source: `${source.host}/${name}:v1`, target: `oci:store/oci:${name}:v1`, referrers: true }, context);
  await bundle({ store: 'store', out: 'usb', name: 'b' }, context);
  await context.close();
  await source.close();
});

afterAll(() => place[Symbol.asyncDispose]());

interface ZoneRun {
  zone: TestRegistry;
  bring: (options?: Partial<ImportOptions>) => Promise<Report>;
  check: () => Promise<Report>;
  receipt: () => Promise<Receipt>;
}

/** A zone with this registry, and commands in a directory of their own. */
async function withZone(options: RegistryOptions, work: (run: ZoneRun) => Promise<void>): Promise<void> {
  const zone = await startRegistry(options);
  const cwd = await mkdtemp(join(place.path, 'zone-'));
  const within = async (use: (context: Context) => Promise<Report>): Promise<Report> => {
    const { context } = await testContext({ cwd, insecureHosts: [zone.host], retries: 1 });
    try {
      return await use(context);
    } finally {
      await context.close();
    }
  };
  const images = `${zone.host}/z`;
  const bundled = { bundle: join(place.path, 'usb/b'), images };
  try {
    await work({
      zone,
      bring: (asked = {}) => within((context) => importBundle({ ...bundled, ...asked }, context)),
      check: () => within((context) => verifyZone({ images, receipts: ['b.receipt.json'] }, context)),
      receipt: async () => parseReceipt(await readFile(join(cwd, 'b.receipt.json')), 'receipt'),
    });
  } finally {
    await zone.close();
  }
}

const kindsOf = ({ items }: Report): string[] => items.map(({ kind, state, name }) => `${kind} ${state} ${name}`);
const cannotList = { referrers: false, digestTagIsSubject: true } as const;

describe('referrers that the zone', () => {
  it.each<[string, RegistryOptions]>([
    ['cannot list', cannotList],
    ['does not take', { refusesArtifacts: true }],
  ])('%s do not keep an imported image back, and are named', async (_, options) => {
    await withZone(options, async ({ zone, bring }) => {
      for (const state of ['done', 'present']) {
        const report = await bring();

        expect(report.exit).toBe(3);
        expect(kindsOf(report)).toEqual([
          `image ${state} app:v1`,
          expect.stringMatching(/^referrers failed .*\/z\/app:v1$/),
          `image ${state} plain:v1`,
        ]);
        expect(report.items[1]).toMatchObject({
          detail: { names: [sbom.digest] },
          error: { code: 'E_REFUSED', at: { side: 'target' } },
        });
        expect(report.summary.at(-1)).toContain('1 INCOMPLETE');
      }
      expect(zone.manifest('z/app', 'v1')?.digest).toBe(image.digest);
      expect(zone.tags('z/app')).toEqual([cosignTag(image.digest), 'v1']);
    });
  });

  it('cannot list stand in no receipt, while the image does, and what the receipt says is there', async () => {
    await withZone(cannotList, async ({ bring, check, receipt }) => {
      await bring();

      const [app, other] = (await receipt()).images;
      expect([app?.digest, other?.digest]).toEqual([image.digest, plain.digest]);
      expect(app?.digests).toEqual(expect.arrayContaining([image.digest, signature.digest]));
      expect(app?.digests).not.toContain(sbom.digest);
      expect((await receipt()).complete).toBe(true);
      expect((await check()).ok).toBe(true);
    });
  });

  it('cannot list do not keep a shard from being done', async () => {
    await withZone(cannotList, async ({ bring }) => {
      const report = await bring({ shard: '0/1' });

      expect(report.exit).toBe(3);
      expect(report.summary.join('\n')).toContain('shard 0/1 is done');
    });
  });
});
