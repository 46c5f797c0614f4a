import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { rangesOf } from '../../src/hub/safety/byte-ranges.ts';
import { type FileSafety, inspectFile } from '../../src/hub/safety/file-safety.ts';
import { projectRoot } from '../support/cli.ts';
import { evilPickle, op, pickle, tensorPickle } from '../support/pickles.ts';
import { buildSafetensors, safetensorsFile } from '../support/tensors.ts';
import { buildZip, torchZip } from '../support/zips.ts';
import { type PickleScan, readSafetensors, scanPickles, writeSamples } from './scanners.ts';
import { installTools } from './tools.ts';

/** Second opinions on model files: picklescan on what pickles import, the safetensors library on headers. */

let directory: string;
let scans: Record<string, PickleScan>;
let verdicts: Record<string, string | null>;

const run = [op.emptyTuple(), op.reduce(), op.stop()];
const stackGlobal = [op.proto(4), op.text('os'), op.text('system'), op.stackGlobal(), ...run];

/** Files that every reader finishes. */
const whole: Record<string, Buffer> = {
  'evil.bin': evilPickle(),
  'evil.pkl': evilPickle(),
  'tensors.bin': torchZip(tensorPickle()),
  'evil.pt': torchZip(evilPickle()),
  'deflated.pt': buildZip([{ name: 'archive/data.pkl', bytes: evilPickle(), deflate: true }]),
  'zip64.pt': torchZip(evilPickle(), 64, { zip64: true }),
  'member.zip': buildZip([{ name: 'folder/without-extension', bytes: evilPickle() }]),
  'stack.pkl': pickle(...stackGlobal),
  'several.pkl': pickle(tensorPickle(), pickle(...stackGlobal), evilPickle()),
  'inst.pkl': pickle(op.mark(), op.text('true'), op.inst('posix', 'system'), op.stop()),
  'memo.pkl': pickle(op.proto(4), op.text('os'), op.memoize(), op.pop(), op.get('0'), op.text('system'), op.stackGlobal(), ...run),
}; // prettier-ignore

/** Files with which something is wrong. */
const hostile: Record<string, Buffer> = {
  'cut.pkl': evilPickle().subarray(0, -2),
  'tail.pkl': pickle(evilPickle(), Buffer.from([0xff, 0xfe])),
  'broken.pkl': pickle(op.global('os', 'system'), Buffer.from([0xff])),
  'unknown.pkl': pickle(op.proto(4), op.none(), op.text('system'), op.stackGlobal(), ...run),
  'memo-missing.pkl': pickle(op.proto(4), op.binGet(9), op.text('system'), op.stackGlobal(), ...run),
  'no-magic.bin': pickle(op.global('os', 'system'), ...run),
  'polyglot.bin': Buffer.concat([tensorPickle(), torchZip(evilPickle())]),
  'renamed.pt': buildZip([{ name: 'archive/data.pkl', bytes: evilPickle(), localName: 'archive/date.pkl' }]),
  'prefixed.zip': torchZip(evilPickle(), 64, { before: Buffer.from('#!/bin/sh\n') }),
  'trailing.zip': torchZip(evilPickle(), 64, { after: Buffer.from('more') }),
};

const header = (entry: object): object => ({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4], ...entry } });

/** Each with what the library should say of it, by its own rules. */
const headers: Record<string, Buffer> = {
  'good-1': buildSafetensors([{ name: 'a', dtype: 'BF16', shape: [3], bytes: 6 }], 5),
  'good-2': buildSafetensors([]),
  'good-3': safetensorsFile({ __metadata__: { a: 'b' }, ...header({ more: [1] }) }, 4),
  'good-4': buildSafetensors([{ name: 'a', dtype: 'F4', shape: [8], bytes: 4 }]),
  'bad-short': safetensorsFile(header({}), 3),
  'bad-long': safetensorsFile(header({}), 5),
  'bad-length': safetensorsFile(header({}), 4, 9999n),
  'bad-huge': safetensorsFile(header({}), 4, 100_000_001n),
  'bad-shape': safetensorsFile(header({ shape: [2] }), 4),
  'bad-negative': safetensorsFile(header({ shape: [-1] }), 4),
  'bad-type': safetensorsFile(header({ dtype: 'X' }), 4),
  'bad-start': safetensorsFile(header({ data_offsets: [4, 8] }), 8),
  'bad-metadata': safetensorsFile({ __metadata__: { a: 1 } }, 0),
  'bad-fraction': safetensorsFile('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', 4),
  'bad-overflow': safetensorsFile(header({ shape: [2 ** 40, 2 ** 40] }), 4),
  'bad-utf8': safetensorsFile(Buffer.from('{"\u00ff":{}}', 'latin1'), 0),
  'bad-json': safetensorsFile('{"a":', 0),
  'bad-tail': safetensorsFile(`${JSON.stringify(header({}))}x`, 4),
  // The format forbids these two, the library lets them pass.
  'strict-twice': safetensorsFile(`{"a":${JSON.stringify(header({})).slice(5, -1)},"a":${JSON.stringify(header({})).slice(5, -1)}}`, 4),
  'strict-space': safetensorsFile(` ${JSON.stringify(header({}))}`, 4),
}; // prettier-ignore

beforeAll(async () => {
  const { scanner } = await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-model-files-'));
  const fixtures = JSON.parse(readFileSync(resolve(projectRoot, 'fixtures/pickles/pickles.json'), 'utf8')) as {
    cases: { name: string; bytes: string }[];
  };
  for (const folder of ['whole', 'hostile', 'headers']) await mkdir(join(directory, folder));
  for (const [name, bytes] of Object.entries(whole)) await writeFile(join(directory, 'whole', name), bytes);
  for (const { name, bytes } of fixtures.cases)
    await writeFile(
      join(directory, 'whole', `${name}.${name.startsWith('torch-') ? 'bin' : 'pkl'}`),
      Buffer.from(bytes, 'base64'),
    );
  for (const [name, bytes] of Object.entries(hostile)) await writeFile(join(directory, 'hostile', name), bytes);
  for (const [name, bytes] of Object.entries(headers))
    await writeFile(join(directory, 'headers', `${name}.safetensors`), bytes);
  await writeSamples(scanner, join(directory, 'whole'), 20260101, 300);
  scans = await scanPickles(scanner, await listOf(['whole', 'hostile'], (name) => !name.endsWith('.safetensors')));
  verdicts = await readSafetensors(
    scanner,
    await listOf(['whole', 'headers'], (name) => name.endsWith('.safetensors')),
  );
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function listOf(folders: string[], isWanted: (name: string) => boolean): Promise<string> {
  const lists = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(join(directory, folder))).filter(isWanted).map((name) => join(directory, folder, name)),
    ),
  );
  const path = join(directory, `${folders.join('-')}.json`);
  await writeFile(path, JSON.stringify(lists.flat()));
  return path;
}

async function look(path: string): Promise<FileSafety> {
  return inspectFile(basename(path), rangesOf(contentOf(await readFile(path))));
}

/** picklescan writes `unknown` where a name cannot be told. */
const importsOf = ({ pickle: found }: FileSafety): string[] =>
  (found?.imports ?? []).map(({ module, name }) => `${module ?? 'unknown'} ${name ?? 'unknown'}`).sort();

describe('beside picklescan', () => {
  it('finds the same imports in every file that can be read to its end', async () => {
    const paths = Object.keys(scans).filter((path) => path.includes('/whole/'));
    expect(paths.length).toBeGreaterThan(320);
    for (const path of paths) {
      const theirs = new Set(scans[path]?.imports.map(([module, name]) => `${module} ${name}`));
      const ours = await look(path);
      expect([basename(path), importsOf(ours)]).toEqual([basename(path), [...theirs].sort()]);
      expect([basename(path), ours.pickle?.truncated ?? false]).toEqual([basename(path), false]);
    }
  });

  it('is never laxer', async () => {
    const lax: string[] = [];
    const dangerous: string[] = [];
    for (const [path, { failed, imports }] of Object.entries(scans)) {
      const ours = await look(path);
      const allowed = (ours.pickle?.imports ?? []).filter(({ verdict }) => verdict === 'allowed');
      const allowedNames = new Set(allowed.map(({ module, name }) => `${module} ${name}`));
      const seen = new Set(importsOf(ours));
      const isDanger = ours.findings.some(({ severity }) => severity === 'danger');
      for (const [module, name, safety] of imports) {
        const told = `${basename(path)}: ${module} ${name}`;
        if (safety === 'dangerous') dangerous.push(told);
        if (!seen.has(`${module} ${name}`) && !isDanger) lax.push(`${told} is not seen`);
        if (safety === 'dangerous' && allowedNames.has(`${module} ${name}`)) lax.push(`${told} is allowed`);
      }
      if (failed && ours.findings.length === 0) lax.push(`${basename(path)}: nothing is wrong`);
    }
    expect(lax).toEqual([]);
    expect(dangerous.length).toBeGreaterThan(100);
  });
});

it('takes and refuses the headers that the safetensors library takes and refuses', async () => {
  const found: Record<string, { ours: boolean; theirs: boolean }> = {};
  for (const [path, theirs] of Object.entries(verdicts)) {
    const ours = (await look(path)).findings.every(({ code }) => code !== 'safetensors-header');
    found[basename(path, '.safetensors')] = { ours, theirs: theirs === null };
  }
  const wanted = [...Object.keys(headers), 'library'].map((name) => {
    const ours = !/^(?:bad|strict)-/.test(name);
    return [name, { ours, theirs: ours || name.startsWith('strict-') }];
  });
  expect(found).toEqual(Object.fromEntries(wanted));
});
