import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Digest } from '../../src/core/digest.ts';
import { parseCommandLine } from '../../src/cli/program.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import type { BuiltImage } from '../support/images.ts';
import { temporaryDirectory } from '../support/place.ts';
import { receiptText } from '../support/receipts.ts';
import { startRegistry } from '../support/registry.ts';
import { stubEnv } from '../support/stub-env.ts';
import { placeTool } from '../support/tool.ts';
import { imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

/** What doctor prints is typed as it stands, with the directory of the bundle for BUNDLE: then the fault is gone. */

const models = 's3://models/sie/models';
let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;

beforeAll(async () => {
  world = await startWorld();
  place = await temporaryDirectory();
  const image = `${world.source.host}/${imageRepository}:${imageTag}`;
  const manifest = [
    'apiVersion: sie-mirror/v1',
    'kind: MirrorManifest',
    'metadata: { name: site }',
    `models: [{ repo: ${modelId} }]`,
    `images: [{ ref: "${image}", to: sie-server }]`,
  ];
  await writeFile(join(place.path, 'mirror.yaml'), manifest.join('\n'));
  await placeTool(place.path);
  await typed(['pull', 'mirror.yaml'], [world.source.host], world.online);
  await typed(['bundle', '--out', 'usb'], [], world.online);
  stubEnv(world.inside);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await place[Symbol.asyncDispose]();
  await world.close();
});

/** Runs a command line in this process. */
async function typed(words: readonly string[], insecureHosts: string[] = [], env = world.inside): Promise<Report> {
  const invocation = parseCommandLine(
    words,
    () => {},
    (text) => expect.fail(text),
  );
  const toolFile = join(place.path, 'tool.mjs');
  const { context } = await testContext({ cwd: place.path, env, insecureHosts, toolFile });
  try {
    const report = await invocation?.run(context);
    if (!report) throw new Error(`nothing was run: ${words.join(' ')}`);
    return report;
  } finally {
    await context.close();
  }
}

/** The command of ours that the fix of the most probable cause has. */
function commandOf({ facts, items }: Report): string[] {
  const cause = items.find(({ detail }) => detail?.['fault'] === facts?.['cause']);
  const [, command = ''] = /^(?:.*: )?sie-mirror (.*)$/m.exec(String(cause?.detail?.['fix'])) ?? [];
  return command.replaceAll('BUNDLE', 'usb/site').split(' ');
}

it('has the bucket mended by import', async () => {
  await typed(['import', 'usb/site', '--models', models]);
  const whole = new Map(world.s3.objects);
  const doctor = ['doctor', '--models', models, '--receipt', 'site.receipt.json'];
  const tokenizer = [...whole.keys()].find((each) => each.endsWith('/tokenizer.json')) ?? '';
  const size = whole.get(tokenizer)?.body.length ?? 0;
  const faults: Record<string, () => void> = {
    'model-missing': () => {
      for (const each of whole.keys()) if (each.includes('models--')) world.s3.objects.delete(each);
      world.s3.put('models', 'sie/models/models--a--b/refs/main', '');
    },
    'model-incomplete': () => void world.s3.objects.delete(tokenizer),
    'content-wrong': () => world.s3.put('models', tokenizer.replace('models/', ''), 'x'.repeat(size)),
  };
  for (const [fault, spoil] of Object.entries(faults)) {
    spoil();
    const told = await typed(doctor);
    expect(told.facts).toEqual({ cause: fault });
    expect((await typed(commandOf(told))).ok).toBe(true);
    world.s3.objects.delete('models/sie/models/models--a--b/refs/main');
    expect((await typed(doctor)).facts, fault).toBeUndefined();
  }
});

it.each<[string, (image: BuiltImage) => string]>([
  ['image-blob', ({ blobs }) => [...blobs.keys()].at(-1) ?? ''],
  ['image-platform', ({ manifests, digest }) => [...manifests.keys()].find((each) => each !== digest) ?? ''],
])('has the registry mended by import: %s', async (fault, lost) => {
  const registry = await startRegistry({});
  const { image } = world;
  const digest = lost(image);
  const without = <T>(all: ReadonlyMap<string, T>): Map<string, T> =>
    new Map([...all].filter(([each]) => each !== digest));
  registry.put(
    'sie/sie-server',
    { ...image, blobs: without(image.blobs), manifests: without(image.manifests) },
    imageTag,
  );
  const images = `${registry.host}/sie`;
  const received = {
    reference: 'x',
    target: `${images}/sie-server:${imageTag}`,
    digest: image.digest as Digest,
    digests: [],
  };
  await writeFile(join(place.path, `${fault}.json`), receiptText({ targets: { images }, images: [received] }));
  const doctor = ['doctor', '--receipt', `${fault}.json`];

  const told = await typed(doctor, [registry.host]);
  expect(told.facts).toEqual({ cause: fault });
  await typed([...commandOf(told), '--receipt', `${fault}-again.json`], [registry.host]);
  expect((await typed(doctor, [registry.host])).facts).toBeUndefined();
  await registry.close();
});
