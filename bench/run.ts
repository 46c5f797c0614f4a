import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { installTools, type Tools } from '../test/real/tools.ts';
import { bundle } from './cases/bundle.ts';
import { copyAgain } from './cases/copy-again.ts';
import { copyFaults } from './cases/copy-faults.ts';
import { copySmall } from './cases/copy-small.ts';
import { copy } from './cases/copy.ts';
import { importImages } from './cases/import-images.ts';
import { importCase } from './cases/import.ts';
import { smallFiles } from './cases/small-files.ts';
import { snapshotAgain } from './cases/snapshot-again.ts';
import { snapshotDistant } from './cases/snapshot-distant.ts';
import { snapshot } from './cases/snapshot.ts';
import { startup } from './cases/startup.ts';
import { verify } from './cases/verify.ts';
import type { BenchCase } from './support/bench-case.ts';
import { compare } from './support/compare.ts';
import { machineLine } from './support/machine.ts';
import { renderTable } from './support/render.ts';
import { writeResults } from './support/results-file.ts';
import { openWorkspace, type Workspace } from './support/workspace.ts';

const cases: readonly BenchCase[] = [
  copy,
  copySmall,
  copyAgain,
  copyFaults,
  bundle,
  verify,
  smallFiles,
  snapshot,
  snapshotDistant,
  snapshotAgain,
  importCase,
  importImages,
  startup,
];

const usage = `npm run bench -- [--scale 0.1] [--rounds 4] [--out FILE] [case...]
cases: ${cases.map(({ name }) => name).join(' ')} (default: all)`;

interface Settings {
  chosen: BenchCase[];
  scale: number;
  rounds: number;
  out: string | undefined;
}

function readSettings(): Settings {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      scale: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '4' },
      out: { type: 'string' },
    },
  });
  const [scale, rounds] = [Number(values.scale), Number(values.rounds)];
  const unknown = positionals.filter((name) => !cases.some((each) => each.name === name));
  if (unknown.length > 0 || !(scale > 0 && scale <= 1) || !Number.isInteger(rounds) || rounds < 1)
    throw new Error(usage);
  const chosen = cases.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  return { chosen, scale, rounds, out: values.out };
}

async function runCase(each: BenchCase, settings: Settings, tools: Tools, workspace: Workspace): Promise<string> {
  const { scale, rounds } = settings;
  const directory = join(workspace.directory, each.name);
  const python = tools.hubs[0]?.path;
  if (python === undefined) throw new Error('no Python is installed');
  const log = (line: string): void => console.error(line);
  console.error(`${each.name}: ${each.about(scale)}`);
  await mkdir(directory);
  try {
    const run = { python, rounds, log };
    const result = await each.run({ directory, scale, tools, log, compare: (it) => compare(it, run) });
    const flags = `${scale === 1 ? '' : ` --scale ${scale}`} --rounds ${rounds}`;
    const made = `\`npm run bench --${flags} ${each.name}\` on ${new Date().toISOString().slice(0, 10)}`;
    const parts = [`## ${each.name}`, each.about(scale)];
    if (result.pairs.length > 0) parts.push(renderTable(result.pairs));
    if (result.notes.length > 0) parts.push(result.notes.map((note) => `- ${note}`).join('\n'));
    return `${[...parts, `${made}: ${machineLine(tools, workspace.kind)}.`].join('\n\n')}\n`;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const settings = readSettings();
  const tools = await installTools();
  const workspace = await openWorkspace(settings.scale);
  // A run that is stopped in the middle must not leave gigabytes in memory.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void workspace.remove().finally(() => process.exit(1)));
  const sections = new Map<string, string>();
  try {
    console.error(`\nworking on ${workspace.kind}\n`);
    for (const each of settings.chosen) {
      const section = await runCase(each, settings, tools, workspace);
      console.log(`\n${section}`);
      sections.set(each.name, section);
    }
  } finally {
    await workspace.remove();
    if (settings.out !== undefined && sections.size > 0) await writeResults(resolve(settings.out), sections);
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
