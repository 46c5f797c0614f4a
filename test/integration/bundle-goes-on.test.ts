import { chmod, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bundle, type BundleOptions } from '../../src/commands/bundle.ts';
import { verify } from '../../src/commands/verify.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { makeBundle, type MadeBundle } from '../support/made-bundle.ts';
import { placeTool } from '../support/tool.ts';

/** A broken run goes on with what it has written, whatever medium that is on. */

const volumeSize = 80 * 1024;
const content = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => [`${name}.bin`, Buffer.alloc(60_000, name)]);
let made: MadeBundle;
/** The file that is read last. */
let last: string;

beforeEach(async () => {
  made = await makeBundle({ 'org/name': Object.fromEntries(content) });
  const blobs = join(made.path, 'store/hub/models--org--name/blobs');
  const large: string[] = [];
  for (const name of await readdir(blobs)) if ((await stat(join(blobs, name))).size === 60_000) large.push(name);
  last = join(blobs, large.sort().at(-1) ?? '');
});

afterEach(async () => {
  await made[Symbol.asyncDispose]();
});

async function make(options: Partial<BundleOptions>): Promise<Report> {
  const { context } = await testContext({ cwd: made.path, toolFile: await placeTool(made.path) });
  try {
    return await bundle({ store: 'store', out: 'one', name: 'x', volumeSize, volumesAtOnce: 1, ...options }, context);
  } finally {
    await context.close();
  }
}

/** Writes all but the last volumes. */
async function breakOff(options: Partial<BundleOptions> = {}): Promise<string[]> {
  const bytes = await readFile(last);
  await writeFile(last, Buffer.alloc(60_000, 'x'));
  expect(await codeOf(make(options))).toBe('E_DIGEST_MISMATCH');
  await writeFile(last, bytes);
  return volumesIn('one');
}

const inBundle = (medium: string, name = ''): string => join(made.path, medium, 'x', name);

async function volumesIn(medium: string): Promise<string[]> {
  const names = await readdir(inBundle(medium)).catch(() => []);
  return names.filter((name) => name.endsWith('.tar')).sort();
}

async function nodesOf(medium: string, names: readonly string[]): Promise<number[]> {
  return Promise.all(names.map(async (name) => (await stat(inBundle(medium, name))).ino));
}

const isGood = async (...media: string[]): Promise<boolean> => {
  const [first = '', ...from] = media.map((medium) => `${medium}/x`);
  return (await made.within(async (context) => verify({ bundle: first, from }, context))).ok;
};

it('goes on when one more medium is given, because the first one turned out too small', async () => {
  const before = await breakOff();
  expect(before.length).toBeGreaterThan(3);
  const nodes = await nodesOf('one', before);
  const sizes = await Promise.all(before.map(async (name) => (await stat(inBundle('one', name))).size));
  const room = sizes.reduce((sum, size) => sum + Math.ceil(size / 4096) * 4096, 40 * 1024);

  expect(await make({ moreOut: ['two'], mediumSize: room })).toMatchObject({ ok: true });

  expect(await nodesOf('one', before)).toEqual(nodes);
  expect((await volumesIn('two')).length).toBeGreaterThan(0);
  expect(await isGood('one', 'two')).toBe(true);
  expect((await readdir(join(made.path, 'store'))).filter((name) => name.includes('journal'))).toEqual([]);
});

it('writes anew what a medium does not hold any more, and nothing else', async () => {
  const before = await breakOff();
  const gone = inBundle('one', before[1]);
  const [first, , third] = await nodesOf('one', before);
  await rm(gone);

  expect(await make({})).toMatchObject({ ok: true });

  const nodes = await nodesOf('one', before);
  expect([nodes[0], nodes[2]]).toEqual([first, third]);
  expect(await isGood('one')).toBe(true);
});

it('takes away a volume of an earlier run that now belongs on another medium', async () => {
  const before = await breakOff();
  await mkdir(inBundle('two'), { recursive: true });
  await writeFile(inBundle('two', before[0]), 'what another run has left');

  expect(await make({ moreOut: ['two'] })).toMatchObject({ ok: true });

  expect(await volumesIn('two')).toEqual([]);
  expect(await isGood('one', 'two')).toBe(true);
});

it('clears away what a killed run left on the medium, be it from looking whether that can be written to', async () => {
  await breakOff();
  for (const name of ['.0123abcd.partial', 'inventory.json.0123abcd.partial', 'sie-mirror.mjs.partial', 'VERIFY.md'])
    await writeFile(inBundle('one', name), 'half');

  expect(await make({})).toMatchObject({ ok: true });

  expect(await isGood('one')).toBe(true);
  expect((await readdir(inBundle('one'))).filter((name) => name.endsWith('.partial'))).toEqual([]);
});

it('forgets what runs have noted that nobody went on with for two weeks, and its own notes never', async () => {
  const journals = async (): Promise<string[]> =>
    (await readdir(join(made.path, 'store'))).filter((name) => name.includes('.journal'));
  await breakOff();
  const [own = ''] = await journals();
  const [old, young] = ['.bundle-0000000000000001.journal', '.bundle-0000000000000002.journal'];
  for (const name of [old, `${old}.0123abcd.partial`, young, '.bundle-notes.journal'])
    await writeFile(join(made.path, 'store', name), 'volumes\n');
  const longAgo = Date.now() / 1000 - 15 * 24 * 3600;
  for (const name of await journals())
    if (name !== young) await utimes(join(made.path, 'store', name), longAgo, longAgo);
  const before = await nodesOf('one', await volumesIn('one'));
  await chmod(last, 0o644);
  await writeFile(last, Buffer.alloc(60_000, 'x'));

  expect(await codeOf(make({}))).toBe('E_DIGEST_MISMATCH');

  expect((await journals()).sort()).toEqual([own, young, '.bundle-notes.journal'].sort());
  expect((await nodesOf('one', await volumesIn('one'))).slice(0, before.length)).toEqual(before);
});

it('refuses one directory as two media, by whatever name, and a medium within another one or within what is read', async () => {
  await mkdir(join(made.path, 'one'));
  await symlink('one', join(made.path, 'same'));
  expect(await codeOf(make({ moreOut: ['./one'] }))).toBe('E_USAGE');
  expect(await codeOf(make({ moreOut: ['same'] }))).toBe('E_USAGE');
  expect(await codeOf(make({ moreOut: ['one/x/y'] }))).toBe('E_USAGE');
  expect(await codeOf(make({ out: 'store/hub' }))).toBe('E_USAGE');
  expect(await codeOf(make({ out: '.', name: 'store' }))).toBe('E_USAGE');
  expect(await readdir(join(made.path, 'one'))).toEqual([]);
  expect(await readdir(join(made.path, 'store/hub'))).not.toContain('x');
});

it.each(['con', 'NUL', 'aux.1', 'a.', 'lpt1.x'])('refuses the name %s, which Windows cannot open', async (name) => {
  expect(await codeOf(make({ name }))).toBe('E_USAGE');
  expect(await readdir(made.path)).not.toContain('one');
});

it('refuses a key for a base that is not given, before anything is touched', async () => {
  expect(await codeOf(make({ baseKeys: ['pub.pem'] }))).toBe('E_USAGE');
  expect(await readdir(made.path)).not.toContain('one');
});
