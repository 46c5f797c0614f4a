import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { multiArch } from '../support/images.ts';
import { filesBelow } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { runCommand } from './command.ts';
import { pushImage } from './seed.ts';
import {
  type RealServer,
  startCraneRegistry,
  startDistribution,
  startOlareg,
  startOldDistribution,
} from './servers.ts';
import { installTools, type Tools } from './tools.ts';

/** Models as images and artifacts of real registries, read back by others' tools. */

const makers = {
  'distribution v3': startDistribution,
  'docker-registry 2.8': startOldDistribution,
  olareg: startOlareg,
  "crane's registry": startCraneRegistry,
};

const files: Record<string, Uint8Array> = {
  'config.json': Buffer.from('{"model_type":"test"}'),
  'empty.txt': Buffer.alloc(0),
  '1_Pooling/config.json': Buffer.from('{}'),
  [`${'deep/'.repeat(40)}größe.json`]: Buffer.from('{"long":true}'),
  'model-00001-of-00002.safetensors': seededBytes('one', 17 * 1024 * 1024 + 5),
  'model-00002-of-00002.safetensors': seededBytes('two', 16 * 1024 * 1024),
};

let tools: Tools;
let directory: string;

beforeAll(async () => {
  tools = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-targets-'));
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(directory, 'model', path)), { recursive: true });
    await writeFile(join(directory, 'model', path), bytes);
  }
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Paths of the model that are not below a directory as they should be, and those that should not be there. */
async function wrongFiles(below: string): Promise<string[]> {
  const found = await filesBelow(below);
  const wrong = found.filter((path) => files[path] === undefined);
  for (const [path, bytes] of Object.entries(files))
    if (!found.includes(path) || !(await readFile(join(below, path))).equals(bytes)) wrong.push(path);
  return wrong;
}

describe.each(Object.entries(makers))('a model in %s', (name, start) => {
  let server: RealServer;
  let place: string;

  beforeAll(async () => {
    place = join(directory, name.replaceAll(/\W+/g, '-'));
    await mkdir(place);
    server = await start(place);
  });

  afterAll(() => server?.stop());

  async function bring(...more: string[]): Promise<{ items: { state: string; digest: string }[] }> {
    const target = ['--models', `oci://${server.host}/models`, '--insecure-host', server.host, '--json', ...more];
    const result = await runCli(['import', join(directory, 'model'), '--as', 'Org/Name', ...target], { cwd: place });
    expect(result.code, result.stderr).toBe(0);
    return JSON.parse(result.stdout) as { items: { state: string; digest: string }[] };
  }

  it('is an image that crane finds whole, and crane and skopeo unpack for each processor', async () => {
    const reference = `${server.host}/models/org/name:main`;
    const [first] = (await bring()).items;

    // Without --fast it takes every layer for gzip.
    await runCommand(tools.crane, ['validate', '--fast', '--insecure', '--remote', reference]);
    expect((await runCommand(tools.crane, ['digest', '--insecure', reference])).trim()).toBe(first?.digest);
    for (const architecture of ['amd64', 'arm64']) {
      const out = join(place, architecture);
      await mkdir(out);
      const platform = ['--insecure', '--platform', `linux/${architecture}`];
      await runCommand(tools.crane, ['export', ...platform, reference, join(place, 'model.tar')]);
      await runCommand(tools.tar, ['-xf', join(place, 'model.tar'), '-C', out]);
      expect(await wrongFiles(join(out, 'models'))).toEqual([]);
    }
    const copied = ['copy', '--src-tls-verify=false', '--override-arch', 'arm64', `docker://${reference}`];
    await runCommand('skopeo', [...copied, `oci:${join(place, 'layout')}:x`]);
    expect((await bring()).items[0]?.state).toBe('present');
  });

  it('lies on a base image, which crane finds whole with it', async () => {
    const base = multiArch('busybox', ['linux/amd64', 'linux/arm64/v8']);
    await pushImage(server.host, 'library/busybox', base, '1');
    const reference = `${server.host}/models/org/name:main`;

    await bring('--oci-base', `${server.host}/library/busybox:1`);

    await runCommand(tools.crane, ['validate', '--fast', '--insecure', '--remote', reference]);
    const platform = ['--insecure', '--platform', 'linux/arm64/v8'];
    await runCommand(tools.crane, ['export', ...platform, reference, join(place, 'on-base.tar')]);
    const listed = (await runCommand(tools.tar, ['-tf', join(place, 'on-base.tar')])).split('\n');
    expect(listed).toEqual(expect.arrayContaining([expect.stringMatching(/^data\//), 'models/config.json']));
  });

  it('is an artifact that oras pulls file by file', async () => {
    await bring('--oci-form', 'modelpack');

    const out = join(place, 'pulled');
    await runCommand(tools.oras, ['pull', '--plain-http', '-o', out, `${server.host}/models/org/name:main`]);

    expect(await wrongFiles(out)).toEqual([]);
  });
});

it('is the same image in every registry', async () => {
  const digests = await Promise.all(
    Object.keys(makers).map(async (name) => {
      const receipt = await readFile(join(directory, name.replaceAll(/\W+/g, '-'), 'Org--Name.receipt.json'), 'utf8');
      return (JSON.parse(receipt) as { models: { image: { digest: string } }[] }).models[0]?.image.digest;
    }),
  );
  expect(new Set(digests).size).toBe(1);
});
