import { mkdtemp, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { findCommand, runCommand } from './command.ts';
import type { Recipe } from './recipe.ts';

interface GoProgram {
  name: string;
  version: string;
  module: string;
  /** Path of the command in the module. */
  command: string;
  env?: Record<string, string>;
  /** Built as the dependency of an empty module, where `go install` at a version is refused. */
  scratch?: boolean;
}

const GO_PROGRAMS: GoProgram[] = [
  { name: 'crane', version: 'v0.21.9', module: 'github.com/google/go-containerregistry', command: 'cmd/crane' },
  { name: 'registry', version: 'v3.1.1', module: 'github.com/distribution/distribution/v3', command: 'cmd/registry' },
  {
    name: 'versitygw',
    version: 'v1.7.0',
    module: 'github.com/versity/versitygw',
    command: 'cmd/versitygw',
    env: { CGO_ENABLED: '0' },
  },
  {
    name: 'fake-gcs-server',
    version: 'v1.56.1',
    module: 'github.com/fsouza/fake-gcs-server',
    command: '.',
    env: { CGO_ENABLED: '0' },
  },
  { name: 'cosign', version: 'v3.1.2', module: 'github.com/sigstore/cosign/v3', command: 'cmd/cosign' },
  { name: 'regctl', version: 'v0.11.5', module: 'github.com/regclient/regclient', command: 'cmd/regctl' },
  { name: 'olareg', version: 'v0.2.2', module: 'github.com/olareg/olareg', command: 'cmd/olareg', scratch: true },
  { name: 'oras', version: 'v1.3.3', module: 'oras.land/oras', command: 'cmd/oras', scratch: true },
];

/** Other uploaders of objects, which the bench runs beside ours where they are there. */
const GO_UPLOADERS: GoProgram[] = [
  {
    name: 'rclone',
    version: 'v1.75.0',
    module: 'github.com/rclone/rclone',
    command: '.',
    env: { CGO_ENABLED: '0' },
  },
  { name: 's5cmd', version: 'v2.3.0', module: 'github.com/peak/s5cmd/v2', command: '.', scratch: true },
];

/** One for each program that is built with Go. */
export function goRecipes(): Recipe[] {
  return GO_PROGRAMS.map(recipeOf);
}

/** One for each uploader that is built with Go: minutes, which only the bench has. */
export function uploaderRecipes(): Recipe[] {
  return GO_UPLOADERS.map(recipeOf);
}

function recipeOf(program: GoProgram): Recipe {
  return {
    name: program.name,
    wanted: program.version,
    program: join('bin', program.name),
    install: (directory) => (program.scratch === true ? build(program, directory) : install(program, directory)),
  };
}

async function install({ module, command, version, env }: GoProgram, directory: string): Promise<void> {
  const place = { ...env, GOBIN: join(directory, 'bin') };
  await go(['install', '-trimpath', `${posix.join(module, command)}@${version}`], directory, place);
}

async function build({ name, module, command, version, env }: GoProgram, directory: string): Promise<void> {
  const scratch = await mkdtemp(join(directory, `${name}-`));
  try {
    await go(['mod', 'init', 'scratch'], scratch);
    await go(['mod', 'edit', `-require=${module}@${version}`], scratch);
    const output = join(directory, 'bin', name);
    await go(['build', '-mod=mod', '-trimpath', '-o', output, posix.join(module, command)], scratch, env);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function go(args: string[], cwd: string, env: Record<string, string> = {}): Promise<void> {
  if ((await findCommand('go')) === undefined) throw new Error('the command `go` is missing: install Go 1.26 or newer');
  await runCommand('go', args, { cwd, env });
}
