import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliResult, runCli } from '../support/cli.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { type FatMedium, formatFat, makeFatMedium } from './fat-medium.ts';
import { readWithHub } from './readers.ts';
import { installTools, type Tools } from './tools.ts';

/** A store on FAT32: no links, no upper and lower case side by side, names of Windows. */

const model = 'sie-test/tiny-e5';
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let tools: Tools;
let medium: FatMedium;
let hub: TestHub;
let commit: string;

beforeAll(async () => {
  tools = await installTools();
  place = await temporaryDirectory();
  medium = await makeFatMedium(place.path);
  await formatFat(medium.image, 48 * 1024 * 1024, 512);
  await medium.mount('rw');
  hub = await startHub();
  ({ commit } = hub.addRepo({ id: model, files: tinyModel(3) }));
  hub.addRepo({ id: 'org/case', files: { 'README.md': 'one', 'readme.md': 'other', 'config.json': '{}' } });
  hub.addRepo({ id: 'org/colon', files: { 'of:what.json': '{}', 'config.json': '{}' } });
});

afterAll(async () => {
  await medium?.unmount();
  await hub?.close();
  await place?.[Symbol.asyncDispose]();
});

const snapshot = (...args: string[]): Promise<CliResult> =>
  runCli(['snapshot', ...args, '--store', 'medium/store'], { cwd: place.path, env: { HF_ENDPOINT: hub.url } });

it('holds a model that huggingface_hub reads offline', async () => {
  const made = await snapshot(model);
  expect(made, made.stderr).toMatchObject({ code: 0 });
  expect(await snapshot('--offline')).toMatchObject({ code: 0 });
  for (const python of tools.hubs)
    expect(await readWithHub(python, join(medium.path, 'store/hub'), model, commit), python.version).toMatchObject({
      same: true,
      warnings: [],
      refs: ['main'],
    });
});

it.each(['org/case', 'org/colon'])(
  'refuses names that it cannot have before a byte comes, and says which: %s',
  async (repo) => {
    const before = hub.server.requests.length;
    const refused = await snapshot(repo);
    expect(refused, refused.stderr).toMatchObject({
      code: 8,
      stderr: expect.stringMatching(/readme\.md|of:what/) as string,
    });
    expect(hub.server.requests.length - before).toBe(2);
    expect((await filesBelow(medium.path)).filter((path) => path.includes(repo.replace('/', '--')))).toEqual([]);

    const without = await snapshot(repo, '--exclude', 'readme.md', '--exclude', 'of:*');
    expect(without, without.stderr).toMatchObject({ code: 0 });
  },
);
