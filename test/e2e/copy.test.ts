import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { digestOf } from '../support/digest.ts';
import { buildArtifact, buildImage, buildIndex, descriptorOf } from '../support/images.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

/** Each flag of `copy` once, by the real binary. */

const repository = 'org/app';
const children = ['amd64', 'arm64'].map((architecture) =>
  buildImage({ seed: architecture, platform: { os: 'linux', architecture } }),
);
const index = buildIndex({ children });
const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject: descriptorOf(index) });

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let source: TestRegistry;
let zone: TestRegistry;
let sparseZone: TestRegistry;

beforeAll(async () => {
  place = await temporaryDirectory();
  source = await startRegistry();
  zone = await startRegistry();
  sparseZone = await startRegistry({ sparse: true });
  for (const tag of ['v1', 'v2', 'latest']) source.put(repository, index, tag);
  source.put(repository, sbom);
});

afterAll(async () => {
  for (const server of [source, zone, sparseZone]) await server.close();
  await place[Symbol.asyncDispose]();
});

async function copy(...args: string[]): Promise<CliResult & { json: { items: { detail: object }[]; totals: object } }> {
  const hosts = [source, zone, sparseZone].flatMap(({ host }) => ['--insecure-host', host]);
  const result = await runCli(['copy', ...args, ...hosts, '--retries', '0', '--json'], { cwd: place.path });
  return { ...result, json: JSON.parse(result.stdout) as { items: { detail: object }[]; totals: object } };
}

it('--platform, given twice and with commas', async () => {
  const from = `${source.host}/${repository}:v1`;
  const whole = await copy(from, `${zone.host}/both:v1`, '--platform', 'linux/amd64', '--platform', 'linux/arm64');
  const one = await copy(from, `${zone.host}/one:v1`, '--platform', 'linux/arm64');
  const none = await copy(from, `${zone.host}/none:v1`, '--platform', 'linux/amd64,linux/s390x');

  expect([whole.code, one.code, none.code]).toEqual([0, 0, 7]);
  expect(zone.manifest('both', 'v1')?.digest).toBe(index.digest);
  expect(one.json.items[0]?.detail).toMatchObject({ sourceDigest: index.digest, leftBehind: 1 });
  expect(none.stderr).toMatch(/linux\/s390x[^]*linux\/amd64[^]*linux\/arm64/);
});

it('--sparse', async () => {
  const flags = [`${source.host}/${repository}:v1`, '--platform', 'linux/amd64', '--sparse'] as const;
  const refused = await copy(...flags, `${zone.host}/sparse:v1`);
  const taken = await copy(...flags, `${sparseZone.host}/sparse:v1`);

  expect([refused.code, taken.code]).toEqual([8, 0]);
  expect(refused.stderr).toContain('leave out `--sparse`');
  expect(sparseZone.manifest('sparse', 'v1')?.digest).toBe(index.digest);
});

it('--all-tags and --tags', async () => {
  const all = await copy(`${source.host}/${repository}`, `${zone.host}/all`, '--all-tags');
  const some = await copy(`${source.host}/${repository}`, `${zone.host}/some`, '--tags', 'v*', '--tags', 'none');

  expect([all.code, some.code]).toEqual([0, 0]);
  expect(zone.tags('all')).toEqual(['latest', 'v1', 'v2']);
  expect(zone.tags('some')).toEqual(['v1', 'v2']);
});

it('--from-file, with one line that fails', async () => {
  const lines = [`${source.host}/${repository}:v1 listed/app`, `${source.host}/${repository}:none listed/none`];
  await writeFile(join(place.path, 'images.txt'), lines.join('\n'));

  const result = await copy('--from-file', 'images.txt', `${zone.host}/mirror`);

  expect(result.code).toBe(3);
  expect(result.json).toMatchObject({
    ok: false,
    items: [{ state: 'done' }, { state: 'failed', error: { code: 'E_NOT_FOUND' } }],
  });
  expect(zone.tags('mirror/listed/app')).toEqual(['v1']);
});

it('--from-file - reads the list from standard input, and names it so', async () => {
  const line = `${source.host}/${repository}:v1 piped/app`;
  const flags = ['--insecure-host', source.host, '--insecure-host', zone.host];
  const read = async (input: string): Promise<CliResult> =>
    runCli(['copy', '--from-file', '-', `${zone.host}/mirror`, ...flags], { cwd: place.path, input });

  const whole = await read(`${line}\n`);
  const wrong = await read(`${line}\nUPPER/case\n`);

  expect([whole.code, wrong.code]).toEqual([0, 2]);
  expect(zone.tags('mirror/piped/app')).toEqual(['v1']);
  expect(wrong.stderr).toContain('`standard input`, line 2');
});

it('--from-file - that never ends is left by Ctrl-C', async () => {
  const result = await runCli(['copy', '--from-file', '-', zone.host, '--progress', 'plain'], {
    cwd: place.path,
    onError: (text, kill) => text.includes('standard input') && kill('SIGINT'),
  });

  expect(result.code).toBe(130);
});

it('--dry-run', async () => {
  const before = zone.server.count(/^(?:POST|PUT|PATCH) /);
  const files = await filesBelow(place.path);
  const registry = await copy(`${source.host}/${repository}:v1`, `${zone.host}/planned:v1`, '--dry-run');
  const layout = await copy(`${source.host}/${repository}:v1`, 'oci:planned', '--dry-run');

  expect(registry.json).toMatchObject({ items: [{ state: 'planned', digest: index.digest }], totals: { images: 1 } });
  expect(layout.json.totals).toEqual(registry.json.totals);
  expect(zone.server.count(/^(?:POST|PUT|PATCH) /)).toBe(before);
  expect(await filesBelow(place.path)).toEqual(files);
});

it('--no-referrers', async () => {
  const result = await copy(`${source.host}/${repository}:v1`, `${zone.host}/alone:v1`, '--no-referrers');

  expect(result.code).toBe(0);
  expect(zone.manifest('alone', 'v1')?.digest).toBe(index.digest);
  expect(zone.manifest('alone', sbom.digest)).toBeUndefined();
});

it('--include-foreign', async () => {
  const bytes = Buffer.from('a layer of somebody else');
  const digest = digestOf(bytes);
  const image = buildArtifact({ seed: 'foreign' });
  const document = JSON.parse(Buffer.from(image.bytes).toString()) as { layers: object[] };
  const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
  document.layers.push({ mediaType, digest, size: bytes.length, urls: ['https://owner.invalid/layer'] });
  const text = Buffer.from(JSON.stringify(document));
  const manifests = new Map([[digestOf(text), { mediaType: image.mediaType, bytes: text }]]);
  source.put('foreign', { ...image, digest: digestOf(text), manifests, blobs: image.blobs.set(digest, bytes) }, 'v1');

  const carried = await copy(`${source.host}/foreign:v1`, `${zone.host}/foreign:v1`);
  const before = zone.blob('foreign', digest);
  const fetched = await copy(`${source.host}/foreign:v1`, `${zone.host}/foreign:v1`, '--include-foreign');

  expect([carried.code, fetched.code, before]).toEqual([0, 0, undefined]);
  expect(carried.json.items[0]?.detail).toMatchObject({ foreign: { count: 1, bytes: bytes.length } });
  expect(zone.blob('foreign', digest)).toBeDefined();
});

it('a missing argument, and a flag without its list', async () => {
  const results = [await copy(`${source.host}/${repository}:v1`), await copy('--from-file', 'none.txt', zone.host)];

  expect(results.map(({ code }) => code)).toEqual([2, 7]);
});
