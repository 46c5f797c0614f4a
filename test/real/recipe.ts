import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isExecutable } from './command.ts';

/** One line of the table of tools. */
export interface ToolRow {
  name: string;
  version: string;
  /** Absolute path of the program; empty for a skipped tool. */
  path: string;
  /** What the installation took; 0 when the tool was there already. */
  seconds: number;
  /** Why the tool is missing, for one that may be. */
  skipped?: string;
}

/** How one tool is installed. */
export interface Recipe {
  /** Names the stamp as well. */
  name: string;
  /** What was asked for: another value installs again. */
  wanted: string;
  /** Path of the program below the cache directory. */
  program: string;
  install: (directory: string) => Promise<void>;
  /** The version that came, where `wanted` does not say it. */
  version?: (program: string) => Promise<string>;
}

/** Where the tools are kept: `.real` below the project, or SIE_MIRROR_REAL_DIR. */
export function toolsDirectory(): string {
  const chosen = process.env['SIE_MIRROR_REAL_DIR'];
  return chosen ? resolve(chosen) : resolve(import.meta.dirname, '../../.real');
}

/** Path of a program that an installation put into the directory `bin` of the tools. */
export function installedProgram(name: string): string {
  return join(toolsDirectory(), 'bin', name);
}

export async function installInOrder(recipes: Recipe[]): Promise<ToolRow[]> {
  const rows: ToolRow[] = [];
  for (const recipe of recipes) rows.push(await installOnce(recipe));
  return rows;
}

async function installOnce(recipe: Recipe): Promise<ToolRow> {
  const stamp = join(toolsDirectory(), 'stamps', recipe.name.replaceAll(/[^\w.-]+/g, '-'));
  const path = join(toolsDirectory(), recipe.program);
  const [wanted, known = ''] = (await readFile(stamp, 'utf8').catch(() => '')).split('\n');
  if (wanted === recipe.wanted && (await isExecutable(path))) {
    return report({ name: recipe.name, version: known, path, seconds: 0 });
  }
  const started = performance.now();
  try {
    await recipe.install(toolsDirectory());
    const version = (await recipe.version?.(path)) ?? recipe.wanted;
    if (!(await isExecutable(path))) throw new Error(`no program came to be at ${path}`);
    await writeFile(stamp, `${recipe.wanted}\n${version}\n`);
    return report({ name: recipe.name, version, path, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    throw new Error(`cannot install ${recipe.name} (${recipe.wanted}): ${messageOf(error)}`, { cause: error });
  }
}

/** Prints a line of the table as soon as it is known. */
export function report(row: ToolRow): ToolRow {
  const effort = row.skipped ?? (row.seconds === 0 ? 'there already' : `${row.seconds.toFixed(1)} s`);
  console.log(`${row.name.padEnd(24)} ${row.version.padEnd(10)} ${effort}`);
  return row;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
