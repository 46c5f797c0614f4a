import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { decodeMsgpack } from '../../src/sie/msgpack.ts';
import { loadManifest } from '../../src/manifest/load.ts';
import { projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';

const fixtures = join(projectRoot, 'fixtures');

it('reads a bundle of format v1, now and for ever', async () => {
  await using place = await temporaryDirectory();
  const key = ['--key', join(fixtures, 'bundle-v1.pub.pem')];
  const verdict = await runCli(['verify', join(fixtures, 'bundle-v1'), ...key], { cwd: place.path });
  expect(verdict, verdict.stderr).toMatchObject({ code: 0 });
  const imported = await runCli(['import', join(fixtures, 'bundle-v1'), ...key, '--models', 'file:models'], {
    cwd: place.path,
  });
  expect(imported, imported.stderr).toMatchObject({ code: 0 });
  const [repo] = (await readdir(join(place.path, 'models'))).filter((name) => name.startsWith('models--'));
  expect(await readdir(join(place.path, 'models', repo ?? ''))).toEqual(['refs', 'snapshots', 'trees']);
});

it('reads an answer that a real gateway gave', async () => {
  const hex = (await readFile(join(fixtures, 'encode-answer.msgpack.hex'), 'utf8')).trim();
  const answer = decodeMsgpack(Buffer.from(hex, 'hex')) as {
    model: string;
    items: { dense: { dims: number; values: number[] } }[];
  };
  expect(answer.model).toBe('BAAI/bge-m3');
  expect(answer.items[0]?.dense.dims).toBe(4);
  expect(answer.items[0]?.dense.values.map((value) => Math.round(value * 1e4) / 1e4)).toEqual([
    -0.576, 0.08, 0.3811, -0.7187,
  ]);
});

it('has only manifests that load', async () => {
  const directory = join(projectRoot, 'manifests');
  const names = (await readdir(directory)).filter((name) => name.endsWith('.yaml'));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names)
    expect((await loadManifest(await readFile(join(directory, name), 'utf8'), name)).kind).toBe('manifest');
});

it('documents every command on a page of its own, and every code in the tables', async () => {
  const help = await runCli(['--help'], { cwd: projectRoot });
  const commands = [...help.stdout.matchAll(/^ {2}(\w+) (?:\[options\]|<)/gm)].map((match) => match[1] ?? '');
  expect(commands.length).toBeGreaterThan(8);
  const pages = await readdir(join(projectRoot, 'docs'));
  for (const command of commands) expect(pages).toContain(`${command}.md`);
  const errors = await readFile(join(projectRoot, 'src/core/errors.ts'), 'utf8');
  const page = await readFile(join(projectRoot, 'docs/json-output.md'), 'utf8');
  for (const [code] of errors.matchAll(/\bE_[A-Z_]+(?=: \{ exit)/g)) expect(page).toContain(`\`${code}\``);
});
