import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Receipt } from '../../src/bundle/records/receipt.ts';
import { verifyZone } from '../../src/commands/verify/zone.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Report, ReportItem } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { buildArtifact, buildImage, cosignTag, descriptorOf } from '../support/images.ts';
import { makeZone, type MadeZone } from '../support/made-zone.ts';
import { startRegistry } from '../support/registry.ts';
import { imageTag, modelId } from '../support/world.ts';

let zone: MadeZone;
const folder = 'm/models--sie-test--tiny-e5';
const weights = (): string => `${folder}/snapshots/${zone.world.commit}/model.safetensors`;
const failed = ({ items }: Report): ReportItem[] => items.filter(({ state }) => state === 'failed');
const findings = (report: Report): string[] =>
  failed(report)
    .filter(({ kind }) => kind === 'object' || kind === 'blob')
    .map(({ error, detail }) => `${String(detail?.['problem'])} ${error?.code}`);
const brokenThings = (report: Report): string[] =>
  failed(report)
    .filter(({ kind }) => kind === 'model' || kind === 'image')
    .map(({ kind }) => kind);
const receipt = async (): Promise<Receipt> =>
  JSON.parse(await readFile(join(zone.path, 'b.receipt.json'), 'utf8')) as Receipt;

beforeAll(async () => {
  zone = await makeZone();
});

beforeEach(() => zone.restore());

afterAll(() => zone[Symbol.asyncDispose]());

it('reads every object and every blob once, writes nothing, and finds all as the receipt says', async () => {
  const { s3, zone: registry } = zone.world;
  const report = await zone.verify();

  expect([report.ok, report.verdict, failed(report)]).toEqual([true, 'GOOD', []]);
  expect(report.items.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['model done', 'image done']);
  const reads = s3.server.requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
  const { models, images } = await receipt();
  const objects = reads.filter((path) => path.includes('/models--') && !path.includes('list-type'));
  expect(objects).toHaveLength(models[0]?.objects.length ?? 0);
  expect(new Set(objects).size).toBe(objects.length);
  expect(s3.server.count(/^HEAD /)).toBe(0);
  const blobs = registry.server.requests.filter(
    ({ method, path, status }) => method === 'GET' && status === 200 && /sha256:[0-9a-f]{64}$/.test(path),
  );
  expect(blobs.map(({ path }) => path.slice(-64)).sort()).toEqual(
    [...new Set(images[0]?.digests)].map((digest) => digest.slice(-64)).sort(),
  );
  expect([...s3.server.requests, ...registry.server.requests].filter(({ method }) => /^P|^D/.test(method))).toEqual([]);
});

describe('an object of a model', () => {
  it.each<[string, string, () => void]>([
    [
      'that has rotten',
      'corrupt E_DIGEST_MISMATCH',
      () => {
        const stored = zone.world.s3.objects.get(`models/${weights()}`);
        if (stored) stored.body[1000] = (stored.body[1000] ?? 0) ^ 1;
      },
    ],
    ['that is gone', 'missing E_MISSING', () => zone.world.s3.objects.delete(`models/${weights()}`)],
    ['that was cut', 'size E_SIZE_MISMATCH', () => zone.world.s3.put('models', weights(), Buffer.alloc(10))],
    [
      'too many',
      'extra E_CORRUPT',
      () => zone.world.s3.put('models', `${folder}/snapshots/${zone.world.commit}/evil.py`, 'x'),
    ],
    [
      'that leads to another commit',
      'corrupt E_DIGEST_MISMATCH',
      () => zone.world.s3.put('models', `${folder}/refs/main`, 'b'.repeat(40)),
    ],
  ])('%s is named, with the model that it takes away and what to do', async (_, finding, damage) => {
    damage();
    const report = await zone.verify();
    expect([report.ok, report.exit, report.verdict, findings(report)]).toEqual([false, 4, 'BAD', [finding]]);
    expect(brokenThings(report)).toEqual(['model']);
    expect(failed(report)[0]?.error?.hint).toMatch(
      /^(?:sie-mirror import b --models s3:\/\/models\/m --verify|remove s3:\/\/.*evil\.py)$/,
    );
    expect(report.summary.some((line) => line.startsWith(`cannot be used: ${modelId}@`))).toBe(true);
  });

  it('that was damaged or lost is mended by the command that is named', async () => {
    const stored = zone.world.s3.objects.get(`models/${weights()}`);
    if (stored) stored.body[7] = (stored.body[7] ?? 0) ^ 1;
    zone.world.s3.objects.delete(`models/${folder}/refs/main`);
    expect((await zone.verify()).ok).toBe(false);
    await zone.bring({ verify: true });
    expect((await zone.verify()).verdict).toBe('GOOD');
  });

  it('is read on from where its connection was cut', async () => {
    let cuts = 0;
    zone.world.s3.server.faults = ({ method, path, headers }) => {
      if (method !== 'GET' || !path.includes('/model.safetensors?')) return undefined;
      cuts += 1;
      return headers.range === undefined ? { kind: 'reset', after: 100_000 } : undefined;
    };
    expect((await zone.verify()).verdict).toBe('GOOD');
    expect(cuts).toBe(2);
  });

  it('that cannot be read is not called damaged', async () => {
    zone.world.s3.server.faults = ({ path }) =>
      path.includes('/model.safetensors?') ? { kind: 'status', status: 500 } : undefined;
    const report = await zone.verify({ images: undefined });
    expect([report.verdict, report.exit, findings(report)]).toEqual(['NOT PROVEN', 3, ['unreadable E_NETWORK']]);
  });
});

describe('what is no fault', () => {
  it('is what others have put there; it is named, and nothing is said of it', async () => {
    zone.world.s3.put('models', 'm/models--org--other/refs/main', 'x');
    zone.world.s3.put('models', 'm/elsewhere', 'x');
    const scan = buildArtifact({
      seed: 'scan',
      artifactType: 'application/sarif+json',
      subject: descriptorOf(zone.world.image),
    });
    zone.world.zone.put(zone.repository, scan, cosignTag(zone.world.image.digest, 'att'));
    const report = await zone.verify();
    expect([report.verdict, findings(report)]).toEqual(['GOOD', []]);
    expect(report.summary.filter((line) => line.startsWith('EXTRA'))).toEqual([
      expect.stringContaining('models--org--other'),
    ]);
    expect(report.summary.filter((line) => line.startsWith('beside'))).toHaveLength(1);
  });

  it('is a ref that a later import has moved on, when its receipt is given too', async () => {
    const { bundle, models, ...rest } = await receipt();
    const next = 'd'.repeat(40);
    const key = `${folder.slice(2)}/refs/main`;
    const later: Receipt = {
      ...rest,
      bundle: { ...bundle, name: 'later' },
      models: [{ repo: models[0]?.repo ?? '', commit: next, objects: [{ key, digest: sha256(next), size: 40 }] }],
      images: [],
    };
    await writeFile(join(zone.path, 'later.json'), JSON.stringify(later));
    zone.world.s3.put('models', `m/${key}`, next);
    expect((await zone.verify()).verdict).toBe('BAD');
    const both = await zone.verify({ receipts: ['b.receipt.json', 'later.json'] });
    expect([both.verdict, both.items.map(({ state }) => state)]).toEqual(['GOOD', ['done', 'done', 'done']]);
    expect(both.summary.join('\n')).toContain(
      `refs/main leads where another receipt says, and not to ${modelId}@${zone.world.commit}`,
    );
    // Which of the two came last no receipt says: that somebody has moved it back is told, and no more.
    zone.restore();
    const back = await zone.verify({ receipts: ['b.receipt.json', 'later.json'] });
    expect(back.summary.join('\n')).toContain(
      `refs/main leads where another receipt says, and not to ${modelId}@${next}`,
    );
  });

  it('is an import that was not complete, and that is said', async () => {
    await writeFile(join(zone.path, 'part.json'), JSON.stringify({ ...(await receipt()), complete: false }));
    expect((await zone.verify({ receipts: ['part.json'] })).verdict).toBe('GOOD, IMPORT NOT COMPLETE');
  });
});

it.each(['plain', 'full'] as const)('holds models in the layout `%s` to the same', async (layout) => {
  const models = `s3://models/${layout}`;
  await zone.bring({ models, layout, images: undefined, receipt: `${layout}.json` });
  const check = (): Promise<Report> => zone.verify({ models, images: undefined, receipts: [`${layout}.json`] });
  expect((await check()).verdict).toBe('GOOD');
  const folder = layout === 'plain' ? 'sie-test/tiny-e5' : 'models--sie-test--tiny-e5';
  zone.world.s3.put('models', `${layout}/${folder}/more.bin`, 'x');
  expect(findings(await check())).toEqual(['extra E_CORRUPT']);
});

function modelOf(key: string): Receipt['models'][number] {
  return { repo: 'o/n', commit: 'd'.repeat(40), objects: [{ key, digest: sha256('x'), size: 1 }] };
}

describe('without a receipt from outside', () => {
  it('the one that lies there is believed, and that is said', async () => {
    const report = await zone.verify({ receipts: [], images: undefined });
    expect([report.ok, report.verdict]).toEqual([true, 'GOOD, BY ITS OWN RECEIPT, NOT ALL LOOKED AT']);
    expect((await zone.verify({ receipts: [] })).verdict).toBe('GOOD, BY ITS OWN RECEIPT');
  });

  it('who changes an object and the receipt is found by the receipt that was carried out only', async () => {
    const text = await readFile(join(zone.path, 'b.receipt.json'), 'utf8');
    const body = Buffer.from('{}');
    const { models } = await receipt();
    const config = models[0]?.objects.find(({ key }) => key.endsWith('sentence_bert_config.json'));
    const digest = sha256(body);
    zone.world.s3.put('models', `m/${config?.key}`, body);
    const forged = text.replace(`"${config?.digest}",\n     "size": ${config?.size}`, `"${digest}",\n     "size": 2`);
    expect(forged).not.toBe(text);
    zone.world.s3.put('models', 'm/.sie-mirror/b.receipt.json', forged);

    expect((await zone.verify({ receipts: [] })).ok).toBe(true);
    expect((await zone.verify()).verdict).toBe('BAD');
  });

  it('who adds an object and a receipt that names it is found by the receipt that was carried out', async () => {
    const { bundle, models, ...rest } = await receipt();
    const key = `${folder.slice(2)}/snapshots/${zone.world.commit}/evil.py`;
    const objects = [...(models[0]?.objects ?? []), { key, digest: sha256('x'), size: 1 }];
    const forged = { ...rest, bundle, models: models.map((model) => ({ ...model, objects })) };
    zone.world.s3.put('models', `m/${key}`, 'x');
    for (const name of ['b', 'other'])
      zone.world.s3.put('models', `m/.sie-mirror/${name}.receipt.json`, JSON.stringify(forged));

    const report = await zone.verify();
    expect([report.verdict, findings(report), brokenThings(report)]).toEqual(['BAD', ['extra E_CORRUPT'], ['model']]);
  });

  it('nothing can be said of a registry, nor of a bucket where none lies', async () => {
    await expect(zone.verify({ models: undefined, receipts: [] })).rejects.toMatchObject({ code: 'E_USAGE' });
    zone.world.s3.objects.delete('models/m/.sie-mirror/b.receipt.json');
    await expect(zone.verify({ receipts: [] })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  });

  it.each<[string, (whole: Receipt) => unknown]>([
    ['is no receipt', () => '{'],
    ['names a key outside of its place', (whole) => ({ ...whole, models: [modelOf('../../b/x')] })],
    ['names a repo outside of its place', (whole) => ({ ...whole, models: [{ ...modelOf('x'), repo: '../..' }] })],
    [
      'has a command for the name of its bundle',
      (whole) => ({ ...whole, bundle: { ...whole.bundle, name: 'b; rm -rf x' } }),
    ],
  ])('one that %s is a finding', async (_, change) => {
    const forged = change(await receipt());
    const text = typeof forged === 'string' ? forged : JSON.stringify(forged);
    zone.world.s3.put('models', 'm/.sie-mirror/b.receipt.json', text);
    const report = await zone.verify({ receipts: [] });
    expect([report.exit, findings(report)]).toEqual([4, ['corrupt E_CORRUPT']]);
    expect(report.summary.join('\n')).not.toContain('rm -rf');
  });
});

describe('an image', () => {
  const root = (): string => zone.world.image.digest;
  const layer = (): string =>
    [...zone.world.image.blobs.entries()].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? '';
  const child = (): string => [...zone.world.image.manifests.keys()].find((digest) => digest !== root()) ?? '';

  const rot = (): void => {
    const bytes = zone.world.zone.blob(zone.repository, layer());
    if (bytes) bytes[100] = (bytes[100] ?? 0) ^ 1;
  };

  it.each<[string, string, () => void]>([
    ['whose layer is gone', 'missing E_MISSING', () => zone.world.zone.remove(zone.repository, layer())],
    ['whose layer has rotten', 'corrupt E_DIGEST_MISMATCH', () => rot()],
    ['whose tag is gone', 'missing E_MISSING', () => zone.world.zone.remove(zone.repository, imageTag)],
    [
      'whose tag leads elsewhere',
      'corrupt E_DIGEST_MISMATCH',
      () => {
        const manifest = zone.world.image.manifests.get(child());
        if (manifest)
          zone.world.zone.put(
            zone.repository,
            { ...manifest, digest: child(), blobs: new Map(), manifests: new Map() },
            imageTag,
          );
      },
    ],
  ])('%s is named', async (_, finding, damage) => {
    damage();
    const report = await zone.verify();
    expect([report.exit, report.verdict, findings(report)]).toEqual([4, 'BAD', [finding]]);
    expect(brokenThings(report)).toEqual(['image']);
  });

  it.each<[string, () => void]>([
    ['platform is', () => zone.world.zone.remove(zone.repository, child())],
    ['root and its tag are', () => zone.world.zone.remove(zone.repository, root())],
  ])('whose %s gone is mended by the command that is named', async (_, damage) => {
    damage();
    const report = await zone.verify();
    expect(failed(report)[0]?.error?.hint).toBe(`sie-mirror import b --images ${zone.images}`);
    await zone.bring();
    expect((await zone.verify()).verdict).toBe('GOOD');
  });

  it.each<[string, () => void]>([
    ['has rotten', () => rot()],
    ['is gone', () => zone.world.zone.remove(zone.repository, layer())],
  ])('whose layer %s is mended when what is named has been deleted', async (_, damage) => {
    damage();
    const hint = failed(await zone.verify())[0]?.error?.hint ?? '';
    const gone = [...hint.matchAll(/@(sha256:[0-9a-f]{64})/g)].map(([, digest]) => digest ?? '');
    expect(gone).not.toContain(root());
    for (const digest of gone) zone.world.zone.remove(zone.repository, digest);
    await zone.bring();
    expect((await zone.verify()).verdict).toBe('GOOD');
  });

  it('that is gone altogether is named once, and with its tag', async () => {
    for (const { digests } of (await receipt()).images)
      for (const each of [imageTag, ...digests]) zone.world.zone.remove(zone.repository, each);
    expect(findings(await zone.verify())).toEqual(['missing E_MISSING', 'missing E_MISSING']);
  });

  it('is read with no more rights than reading needs', async () => {
    const open = await startRegistry({ auth: { kind: 'bearer', user: 'u', password: 'p', pullAnonymous: true } });
    const image = buildImage({ seed: 'open' });
    open.put('x/app', image, 'v1');
    const target = `${open.host}/x/app:v1`;
    const digests = [...image.manifests.keys(), ...image.blobs.keys()];
    const images = [{ reference: 'source/app:v1', target, digest: image.digest, digests }];
    const targets = { images: `${open.host}/x` };
    await writeFile(
      join(zone.path, 'open.json'),
      JSON.stringify({ ...(await receipt()), targets, models: [], images }),
    );
    const { context } = await testContext({ cwd: zone.path, insecureHosts: [open.host] });
    const report = await verifyZone({ images: targets.images, receipts: ['open.json'] }, context);
    const scopes = open.server.requests.filter(({ path }) => path.startsWith('/token')).map(({ path }) => path);
    await context.close();
    await open.close();
    expect(scopes.length).toBeGreaterThan(0);
    expect(scopes.filter((path) => path.includes('push'))).toEqual([]);
    expect([report.verdict, failed(report)]).toEqual(['GOOD', []]);
  });

  it('whose signature has lost its tag is not whole', async () => {
    const signature = zone.world.zone.tags(zone.repository).find((tag) => tag.endsWith('.sig'));
    zone.world.zone.remove(zone.repository, signature ?? '');
    expect(findings(await zone.verify())).toEqual(['corrupt E_CORRUPT']);
  });

  it('is found by another name of the registry too', async () => {
    const text = await readFile(join(zone.path, 'b.receipt.json'), 'utf8');
    await writeFile(join(zone.path, 'other.json'), text.replaceAll(zone.images, 'registry.zone:5000/z'));
    const report = await zone.verify({ receipts: ['other.json'], models: undefined });
    expect(report.verdict).toBe('GOOD, NOT ALL LOOKED AT');
  });

  it('is not looked for where nobody may look', async () => {
    await rm(join(zone.path, '.docker/config.json'));
    await expect(zone.verify()).rejects.toMatchObject({ code: 'E_AUTH' });
  });
});
