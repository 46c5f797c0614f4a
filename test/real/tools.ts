import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { findCommand, isExecutable, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';
import { findPythons, makeVenv, packageVersion } from './python.ts';

/** A program in one of several versions: for Python readers the interpreter of their virtual environment. */
export interface VersionedTool {
  /** `22.21.1` for Node, the version of the library for a Python reader. */
  version: string;
  path: string;
}

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

/** Absolute paths of the real programs that the run uses. */
export interface Tools {
  /** Put it in front of PATH to have crane, cosign, aws and the servers by name. */
  bin: string;
  aws: string;
  cosign: string;
  crane: string;
  olareg: string;
  openssl: string;
  registry: string;
  sha256sum: string;
  skopeo: string;
  /** GNU tar. */
  tar: string;
  versitygw: string;
  /** Node 20, 22 and 24. */
  nodes: VersionedTool[];
  /** Pythons with huggingface_hub 0.36.2, 1.33.0 and the newest, in this order. */
  hubs: VersionedTool[];
  /** Pythons with sie-sdk 0.3.4 and 0.10.1, boto3 and huggingface_hub; undefined without Python 3.12. */
  sdks: VersionedTool[] | undefined;
  /** A Python with picklescan, safetensors and numpy. */
  scanner: VersionedTool;
  /** Every tool, skipped ones included, in the order of installation. */
  rows: ToolRow[];
}

interface Recipe {
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

interface GoProgram {
  name: string;
  version: string;
  package: string;
  env?: Record<string, string>;
}

const WEEK_MS = 7 * 24 * 3600 * 1000;
const PYTHON_MINIMUM = 9;
const SDK_PYTHON = 12;

const GO_PROGRAMS: GoProgram[] = [
  { name: 'crane', version: 'v0.21.9', package: 'github.com/google/go-containerregistry/cmd/crane' },
  { name: 'registry', version: 'v3.1.1', package: 'github.com/distribution/distribution/v3/cmd/registry' },
  {
    name: 'versitygw',
    version: 'v1.7.0',
    package: 'github.com/versity/versitygw/cmd/versitygw',
    env: { CGO_ENABLED: '0' },
  },
  { name: 'cosign', version: 'v3.1.2', package: 'github.com/sigstore/cosign/v3/cmd/cosign' },
];

const DEBIAN_PROGRAMS = [
  { name: 'skopeo', package: 'skopeo', version: ['--version'] },
  { name: 'openssl', package: 'openssl', version: ['version'] },
  { name: 'tar', package: 'tar', version: ['--version'] },
  { name: 'sha256sum', package: 'coreutils', version: ['--version'] },
];

const NODE_VERSIONS = ['20', '22', '24'];
const HUB_VERSIONS = ['0.36.2', '1.33.0', 'newest'];
const SCANNER = 'picklescan';
const SCANNER_REQUIREMENTS = ['picklescan==1.0.5', 'safetensors==0.8.0', 'numpy'];
const SDK_VERSIONS = ['0.3.4', '0.10.1'];

/** Where the tools are kept: `.real` below the project, or SIE_MIRROR_REAL_DIR. */
function toolsDirectory(): string {
  const chosen = process.env['SIE_MIRROR_REAL_DIR'];
  return chosen ? resolve(chosen) : resolve(import.meta.dirname, '../../.real');
}

/** Path of a Go program or `aws` that {@link installTools} put there. */
export function installedProgram(name: string): string {
  return join(toolsDirectory(), 'bin', name);
}

/**
 * Installs what is missing and prints a line for each tool with the seconds that it took.
 * Throws when a tool cannot be had; only the readers that need Python 3.12 are skipped without it.
 */
export async function installTools(): Promise<Tools> {
  const bin = join(toolsDirectory(), 'bin');
  await mkdir(bin, { recursive: true });
  await mkdir(join(toolsDirectory(), 'stamps'), { recursive: true });
  const debian = await installDebianPrograms();
  // Compilers want the cores, package managers the network: one of each at a time.
  const [compiled = [], packaged = []] = await allOrErrors([
    installInOrder([...GO_PROGRAMS.map(goRecipe), olaregRecipe()]),
    installPackaged(),
  ]);
  return toolsOf(bin, [...debian, ...compiled, ...packaged]);
}

async function installPackaged(): Promise<ToolRow[]> {
  const scanner = venvRecipe(
    SCANNER,
    '1.0.5',
    SCANNER_REQUIREMENTS.join(' '),
    'py-scan',
    SCANNER_REQUIREMENTS,
    newestPython,
  );
  const rows = await installInOrder([
    ...NODE_VERSIONS.map(nodeRecipe),
    awsRecipe(),
    ...HUB_VERSIONS.map(hubRecipe),
    scanner,
  ]);
  return [...rows, ...(await installSdks())];
}

function toolsOf(bin: string, rows: ToolRow[]): Tools {
  const path = (name: string): string => rows.find((row) => row.name === name)?.path ?? '';
  const versions = (prefix: string): VersionedTool[] =>
    rows.filter((row) => row.name.startsWith(prefix) && row.skipped === undefined);
  const sdks = versions('sie-sdk ');
  return {
    bin,
    aws: path('aws'),
    cosign: path('cosign'),
    crane: path('crane'),
    olareg: path('olareg'),
    openssl: path('openssl'),
    registry: path('registry'),
    sha256sum: path('sha256sum'),
    skopeo: path('skopeo'),
    tar: path('tar'),
    versitygw: path('versitygw'),
    nodes: versions('node '),
    hubs: versions('huggingface_hub '),
    sdks: sdks.length > 0 ? sdks : undefined,
    scanner: { version: '1.0.5', path: path(`${SCANNER} 1.0.5`) },
    rows,
  };
}

/** Waits for all, so that nothing is still being installed when the errors are reported. */
async function allOrErrors<T>(lanes: Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(lanes);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [messageOf(result.reason)] : []));
  if (errors.length > 0) throw new Error(errors.join('\n\n'));
  return Promise.all(lanes);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function installInOrder(recipes: Recipe[]): Promise<ToolRow[]> {
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

function report(row: ToolRow): ToolRow {
  const effort = row.skipped ?? (row.seconds === 0 ? 'there already' : `${row.seconds.toFixed(1)} s`);
  console.log(`${row.name.padEnd(24)} ${row.version.padEnd(10)} ${effort}`);
  return row;
}

function goRecipe(program: GoProgram): Recipe {
  const { name, version } = program;
  const install = async (directory: string): Promise<void> => {
    const env = { ...program.env, GOBIN: join(directory, 'bin') };
    await go(['install', '-trimpath', `${program.package}@${version}`], directory, env);
  };
  return { name, wanted: version, program: join('bin', name), install };
}

/** olareg's own go.mod does not allow `go install` at a version: it is built as the dependency of an empty module. */
function olaregRecipe(): Recipe {
  const module = 'github.com/olareg/olareg';
  const version = 'v0.2.2';
  const install = async (directory: string): Promise<void> => {
    const scratch = await mkdtemp(join(directory, 'olareg-'));
    try {
      await go(['mod', 'init', 'scratch'], scratch);
      await go(['mod', 'edit', `-require=${module}@${version}`], scratch);
      const output = join(directory, 'bin', 'olareg');
      await go(['build', '-mod=mod', '-trimpath', '-o', output, `${module}/cmd/olareg`], scratch);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  };
  return { name: 'olareg', wanted: version, program: join('bin', 'olareg'), install };
}

async function go(args: string[], cwd: string, env: Record<string, string> = {}): Promise<void> {
  if ((await findCommand('go')) === undefined) throw new Error('the command `go` is missing: install Go 1.26 or newer');
  await runCommand('go', args, { cwd, env });
}

function nodeRecipe(major: string): Recipe {
  const place = `node-${major}`;
  const install = async (directory: string): Promise<void> => {
    const prefix = join(directory, place);
    await rm(prefix, { recursive: true, force: true });
    await mkdir(prefix, { recursive: true });
    await runCommand('npm', ['install', '--prefix', prefix, '--no-audit', '--no-fund', '--no-save', `node@${major}`]);
  };
  const version = async (program: string): Promise<string> => {
    const printed = (await runCommand(program, ['--version'])).trim().replace(/^v/, '');
    if (!printed.startsWith(`${major}.`)) throw new Error(`Node ${printed} came instead of ${major}`);
    return printed;
  };
  return {
    name: `node ${major}`,
    wanted: major,
    program: join(place, 'node_modules', '.bin', 'node'),
    install,
    version,
  };
}

function awsRecipe(): Recipe {
  const place = 'py-awscli';
  const install = async (directory: string): Promise<void> => {
    await makeVenv(await newestPython(), join(directory, place), ['awscli']);
    // pip's own script names its interpreter by an absolute path; this one survives a move of the cache.
    const program = join(directory, 'bin', 'aws');
    await writeFile(program, `#!/bin/sh\nexec "$(dirname "$0")/../${place}/bin/python" -m awscli "$@"\n`);
    await chmod(program, 0o755);
  };
  const version = (program: string): Promise<string> => packageVersion(pythonBeside(program, place), 'awscli');
  return { name: 'aws', wanted: 'newest', program: join('bin', 'aws'), install, version };
}

function pythonBeside(program: string, place: string): string {
  return join(dirname(dirname(program)), place, 'bin', 'python');
}

function hubRecipe(version: string): Recipe {
  const newest = version === 'newest';
  // A kept cache would hold on to an old "newest" for ever.
  const wanted = newest ? `newest of week ${Math.floor(Date.now() / WEEK_MS)}` : version;
  const requirement = newest ? 'huggingface_hub' : `huggingface_hub==${version}`;
  return venvRecipe('huggingface_hub', version, wanted, `py-hub-${version}`, [requirement], newestPython);
}

function venvRecipe(
  distribution: string,
  label: string,
  wanted: string,
  place: string,
  requirements: string[],
  python: () => Promise<string>,
): Recipe {
  return {
    name: `${distribution} ${label}`,
    wanted,
    program: join(place, 'bin', 'python'),
    install: async (directory) => makeVenv(await python(), join(directory, place), requirements),
    version: (program) => packageVersion(program, distribution),
  };
}

async function newestPython(): Promise<string> {
  const [newest] = await findPythons();
  if (newest && newest.minor >= PYTHON_MINIMUM) return newest.path;
  throw new Error(`no Python 3.${PYTHON_MINIMUM} or newer runs here`);
}

async function installSdks(): Promise<ToolRow[]> {
  const recipes = SDK_VERSIONS.map((version) => {
    const requirements = [`sie-sdk==${version}`, 'boto3', 'huggingface_hub==0.36.2'];
    return venvRecipe('sie-sdk', version, version, `py-sie-${version}`, requirements, sdkPython);
  });
  const stamped = await Promise.all(recipes.map((recipe) => isExecutable(join(toolsDirectory(), recipe.program))));
  if (stamped.every(Boolean) || (await hasSdkPython())) return installInOrder(recipes);
  const skipped = `skipped: no Python 3.${SDK_PYTHON} runs here`;
  return recipes.map((recipe) => report({ name: recipe.name, version: '-', path: '', seconds: 0, skipped }));
}

async function hasSdkPython(): Promise<boolean> {
  return (await findPythons()).some((python) => python.minor === SDK_PYTHON);
}

async function sdkPython(): Promise<string> {
  const python = (await findPythons()).find((item) => item.minor === SDK_PYTHON);
  if (python) return python.path;
  throw new Error(`no Python 3.${SDK_PYTHON} runs here`);
}

async function installDebianPrograms(): Promise<ToolRow[]> {
  const started = performance.now();
  const found = await Promise.all(DEBIAN_PROGRAMS.map((program) => findCommand(program.name)));
  const missing = DEBIAN_PROGRAMS.filter((_, index) => found[index] === undefined);
  if (missing.length > 0) await installPackages(missing.map((program) => program.package));
  const seconds = (performance.now() - started) / 1000;
  const rows: ToolRow[] = [];
  for (const program of DEBIAN_PROGRAMS) {
    rows.push(await debianRow(program, missing.includes(program) ? seconds : 0));
  }
  return rows;
}

async function debianRow(program: (typeof DEBIAN_PROGRAMS)[number], seconds: number): Promise<ToolRow> {
  const path = await findCommand(program.name);
  if (path === undefined) throw new Error(`${program.name} is still missing after its package was installed`);
  const { stdout } = await tryCommand(path, program.version);
  if (program.name === 'tar' && !stdout.includes('GNU tar')) throw new Error(`${path} is not GNU tar`);
  return report({ name: program.name, version: /\d+(\.\d+)+\w*/.exec(stdout)?.[0] ?? '?', path, seconds });
}
