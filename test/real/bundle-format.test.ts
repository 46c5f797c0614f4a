import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { approve } from '../../src/commands/approve.ts';
import { bundle } from '../../src/commands/bundle.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import { verify } from '../../src/commands/verify.ts';
import { keygen } from '../../src/commands/keygen.ts';
import { toMirrorError } from '../../src/core/errors.ts';
import type { Context } from '../../src/commands/context.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Inventory } from '../../src/bundle/records/inventory.ts';
import type { LongList } from '../../src/bundle/lists/long-list.ts';
import { testContext } from '../support/context.ts';
import { startHub, type TestHub } from '../support/hub.ts';
import { temporaryDirectory } from '../support/place.ts';
import { tinyModel } from '../support/repos.ts';
import { buildBundle } from '../support/sealed-bundle.ts';
import { placeTool } from '../support/tool.ts';
import { tryCommand } from './command.ts';
import { findPythons } from './python.ts';

const reader = join(import.meta.dirname, 'bundle_reader.py');
const writer = join(import.meta.dirname, 'bundle_writer.py');

/** What either reader says of a bundle. */
interface Verdict {
  ok: boolean;
  /** `FILE PROBLEM`, sorted; of what could not even be opened the file alone. */
  findings: string[];
  damaged: string[];
}

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let hub: TestHub;
let python: string;
let tool: string;
const at = (path: string): string => join(place.path, path);

async function command<T>(work: (context: Context) => Promise<T>): Promise<T> {
  const { context } = await testContext({ cwd: place.path, env: { HF_ENDPOINT: hub.url }, toolFile: tool });
  try {
    return await work(context);
  } finally {
    await context.close();
  }
}

async function ours(directory: string, keys: readonly string[]): Promise<Verdict> {
  try {
    const require = keys.length === 0 ? undefined : keys.length;
    const { ok, items } = await command((context) => verify({ bundle: directory, keys, require }, context));
    const problems = items.flatMap(({ name, detail }) => {
      const problem = detail?.['problem'];
      return typeof problem === 'string' ? [`${name} ${problem}`] : [];
    });
    const damaged = items.filter(({ detail }) => detail?.['damaged'] !== undefined).map(({ name }) => name);
    return { ok, findings: [...new Set(problems)].sort(), damaged };
  } catch (error) {
    return { ok: false, findings: [toMirrorError(error).at.item ?? ''], damaged: [] };
  }
}

async function theirs(directory: string, keys: readonly string[]): Promise<Verdict> {
  const args = [...keys.flatMap((key) => ['--key', at(key)]), '--require', String(keys.length)];
  const { stdout, stderr, code } = await tryCommand(python, [reader, at(directory), ...args]);
  expect([0, 4], stderr).toContain(code);
  const { ok, findings, damaged } = JSON.parse(stdout) as {
    ok: boolean;
    findings: [string, string][];
    damaged: string[];
  };
  expect(ok).toBe(code === 0);
  return { ok, findings: findings.map((each) => each.join(' ')).sort(), damaged };
}

/** @param keys as many have to have signed as are given */
async function bothSay(directory: string, ...keys: string[]): Promise<Verdict> {
  const [one, other] = [await ours(directory, keys), await theirs(directory, keys)];
  // What ends the reading is one file, and each says in its own words what is wrong with it.
  const endsEarly = one.findings.length === 1 && !one.findings[0]?.includes(' ');
  const comparable = endsEarly ? other.findings.map((each) => each.split(' ')[0] ?? '') : other.findings;
  expect({ ...other, findings: comparable }).toEqual(one);
  return one;
}

async function inventoryOf(name: string): Promise<Inventory> {
  return JSON.parse(await readFile(at(`usb/${name}/inventory.json`), 'utf8')) as Inventory;
}

beforeAll(async () => {
  place = await temporaryDirectory();
  hub = await startHub();
  python = (await findPythons())[0]?.path ?? '';
  tool = await placeTool(place.path);
  const files = tinyModel(1, { weightsBytes: 200_000, nonAscii: true });
  hub.addRepo({ id: 'org/one', files });
  hub.addRepo({ id: 'org/two', files: { 'model.bin': Buffer.alloc(30_000, 2) } });
  const seal = (name: string, options: { volumeSize?: number; base?: string } = {}): Promise<unknown> =>
    command((context) =>
      bundle({ store: 'store', out: 'usb', name, sign: 'maker/sie-mirror.key.pem', ...options }, context),
    );
  for (const out of ['maker', 'other', 'officer']) await command((context) => keygen({ out }, context));
  await command((context) => snapshot({ repos: ['org/one', 'org/two'], store: 'store' }, context));
  await seal('single');
  await seal('several', { volumeSize: 80 * 1024 });
  for (const name of ['single', 'several']) {
    await cp(at(`usb/${name}`), at(`approved-${name}`), { recursive: true });
    const [key, maker] = ['officer/sie-mirror.key.pem', 'maker/sie-mirror.pub.pem'];
    await command((context) => approve({ bundle: `approved-${name}`, sign: key, maker, role: 'officer' }, context));
  }
  hub.addRepo({ id: 'org/one', files: { ...files, 'config.json': '{"new":true}' } });
  await command((context) => snapshot({ repos: ['org/one'], store: 'store' }, context));
  await seal('delta', { base: 'usb/single' });
});

afterAll(async () => {
  await hub.close();
  await place[Symbol.asyncDispose]();
});

describe('a reader that was written from the specification', () => {
  it.each(['single', 'several', 'delta'])('reads the bundle %s as ours does', async (name) => {
    expect(await bothSay(`usb/${name}`, 'maker/sie-mirror.pub.pem')).toEqual({ ok: true, findings: [], damaged: [] });
  });

  it('has read a file in parts, and a delta that leaves something out', async () => {
    const [several, delta] = await Promise.all(['several', 'delta'].map(inventoryOf));
    expect(several?.blobs.find(({ parts }) => parts.length > 2)).toBeDefined();
    expect(delta?.base?.held.length).toBeGreaterThan(0);
  });

  it('makes the same headers of every kind of path and target', async () => {
    const paths = {
      [`hub/${'d'.repeat(60)}/${'e'.repeat(60)}/f`]: 10,
      [`hub/${'d'.repeat(151)}/f`]: 600,
      [`hub/${'d'.repeat(152)}/f`]: 600,
      [`hub/${'x'.repeat(120)}/${'y'.repeat(101)}`]: 0,
      [`hub/${'p'.repeat(95)}`]: 511,
      [`hub/${'q'.repeat(96)}`]: 512,
      [`hub/${'\u00e9'.repeat(60)}`]: 513,
      [`hub/${'\u{1f600}'.repeat(55)}`]: 1,
      [`hub/a${'\u{1f600}'.repeat(55)}`]: 2,
      'hub/b c+d': 150_000,
      'oci/z': 3,
      ['v'.repeat(100)]: 4,
      ['w'.repeat(200)]: 5,
    };
    const links = { 'hub/l1': `${'t'.repeat(99)}/u`, 'hub/l2': `${'t'.repeat(100)}/u`, 'hub/l3': '\u00fc' };
    await buildBundle(at('paths'), paths, links);
    expect(await bothSay('paths/bundle')).toEqual({ ok: true, findings: [], damaged: [] });
  });

  it.each<[string, number, (bundle: string, inventory: Inventory) => Promise<void>]>([
    ['a byte of a file is another one', 2, async (path, { blobs }) => flip(volume(path, 2), byteOf(blobs, 2))],
    ['a byte between two files is another one', 1, async (path) => flip(volume(path, 1), 110)],
    ['a volume ends early', 2, async (path) => truncate(volume(path, 1), 5000)],
    ['a volume is gone', 2, async (path) => rm(volume(path, 3))],
    ['there is a file too many', 1, async (path) => writeFile(join(path, 'autorun.inf'), 'x')],
    ['the inventory is another one', 1, async (path) => flip(join(path, 'inventory.json'), 200)],
    ['the sums are others', 1, async (path) => flip(join(path, 'SHA256SUMS'), 3)],
    ['the signature is another one', 1, async (path) => flip(join(path, 'SHA256SUMS.sig'), 40)],
    ['the signature is written in another way', 1, async (path) => rewrite(join(path, 'SHA256SUMS.sig'), longer)],
    [
      'a field of the second signature stands twice',
      1,
      async (path) =>
        rewrite(join(path, 'SHA256SUMS.sigstore.json'), (text) =>
          text.replace('"mediaType"', '"mediaType":"x","mediaType"'),
        ),
    ],
    ['the second signature is another one', 1, async (path) => flip(join(path, 'SHA256SUMS.sigstore.json'), 300)],
    ['the inventory and its sum were changed without the key', 1, async (path) => forge(path)],
  ])('says with ours what is wrong when %s', async (what, least, damage) => {
    const name = what.replaceAll(' ', '-');
    await cp(at('usb/several'), at(name), { recursive: true });
    await damage(at(name), await inventoryOf('several'));
    const { ok, findings, damaged } = await bothSay(name, 'maker/sie-mirror.pub.pem');
    expect(ok).toBe(false);
    expect(findings.length + damaged.length).toBeGreaterThanOrEqual(least);
  });

  it.each<[string, boolean, (bundle: string, approval: string) => Promise<unknown>]>([
    ['as it was given', true, async () => {}],
    ['taken away', false, async (bundle, name) => Promise.all([rm(join(bundle, name)), rm(join(bundle, sigOf(name)))])],
    ['that was edited', false, async (bundle, name) => flip(join(bundle, name), 200)],
    ['whose signature is another one', false, async (bundle, name) => flip(join(bundle, sigOf(name)), 20)],
    ['without its signature', false, async (bundle, name) => rm(join(bundle, sigOf(name)))],
    [
      'of another bundle',
      false,
      async (bundle, name) =>
        Promise.all([name, sigOf(name)].map((each) => cp(at(`approved-single/${each}`), join(bundle, each)))),
    ],
    [
      'that stands there once more, under another name',
      false,
      async (bundle, name) =>
        Promise.all([name, sigOf(name)].map((each) => cp(join(bundle, each), join(bundle, renamed(each))))),
    ],
  ])('counts an approval %s as ours does', async (what, isGood, change) => {
    const name = `approval-${what.replaceAll(/\W+/g, '-')}`;
    await cp(at('approved-several'), at(name), { recursive: true });
    const approval = (await readdir(at(name))).find((each) => /\.approval-.*\.json$/.test(each)) ?? '';
    await change(at(name), approval);
    expect((await bothSay(name, 'maker/sie-mirror.pub.pem', 'officer/sie-mirror.pub.pem')).ok).toBe(isGood);
    expect((await bothSay('approved-several', 'maker/sie-mirror.pub.pem', 'other/sie-mirror.pub.pem')).ok).toBe(false);
  });

  it('believes no key but the one that it was given', async () => {
    expect((await bothSay('usb/single', 'other/sie-mirror.pub.pem')).ok).toBe(false);
  });
});

describe('a bundle that was written from the specification', () => {
  it.each([80 * 1024, 1024 * 1024])(
    'in volumes of %d bytes is ours byte for byte, and verified by ours',
    async (size) => {
      const [ours, theirs] = [`usb/w${size}`, `stranger/w${size}`];
      // Nothing but what refs lead to is in it, so that a walk finds what belongs into a bundle.
      await command((context) => snapshot({ repos: ['org/one', 'org/two'], store: 'fresh' }, context));
      const seals = { name: `w${size}`, sign: 'maker/sie-mirror.key.pem' };
      await command((context) => bundle({ store: 'fresh', out: 'usb', volumeSize: size, ...seals }, context));
      const args = [at('fresh'), at(theirs), `w${size}`, String(size), at('maker/sie-mirror.key.pem')];
      expect(await tryCommand(python, [writer, ...args])).toMatchObject({ code: 0 });

      const [made, written] = await Promise.all(
        [ours, theirs].map(
          async (path) => JSON.parse(await readFile(at(`${path}/inventory.json`), 'utf8')) as Inventory,
        ),
      );
      expect(written?.volumes).toEqual(made?.volumes);
      expect(sorted(written?.blobs)).toEqual(sorted(made?.blobs));
      expect(sorted(written?.links)).toEqual(sorted(made?.links));
      expect((written?.items ?? []).length).toBe(made?.items.length);
      expect(await bothSay(theirs, 'maker/sie-mirror.pub.pem')).toEqual({ ok: true, findings: [], damaged: [] });
    },
  );
});

function sorted<T extends { path: string }>(list: LongList<T> | undefined): T[] {
  return [...(list ?? [])].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The same r with a zero in front: no DER, and yet the same number. */
function longer(signature: string): string {
  const der = Buffer.from(signature, 'base64');
  const body = Buffer.concat([Buffer.of(0x02, (der[3] ?? 0) + 1, 0), der.subarray(4)]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]).toString('base64');
}

async function rewrite(path: string, change: (text: string) => string): Promise<void> {
  await writeFile(path, change(await readFile(path, 'utf8')));
}

function sigOf(statement: string): string {
  return statement.replace(/json$/, 'sig');
}

function renamed(name: string): string {
  return name.replace(/-[0-9a-f]{16}\./, '-0123456789abcdef.');
}

function volume(path: string, number: number): string {
  return join(path, `several.000${number}.tar`);
}

/** In the middle of the largest part in a volume. */
function byteOf(blobs: Inventory['blobs'], number: number): number {
  const parts = [...blobs].flatMap((blob) => blob.parts).filter((part) => part.volume === number);
  const [largest] = parts.sort((a, b) => b.size - a.size);
  return (largest?.offset ?? 0) + ((largest?.size ?? 0) >> 1);
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

async function forge(path: string): Promise<void> {
  const before = await readFile(join(path, 'inventory.json'));
  const after = Buffer.from(before.toString().replaceAll('org/two', 'org/ten'));
  const sums = await readFile(join(path, 'SHA256SUMS'), 'utf8');
  await writeFile(join(path, 'inventory.json'), after);
  await writeFile(join(path, 'SHA256SUMS'), sums.replace(sha256(before).slice(7), sha256(after).slice(7)));
}
