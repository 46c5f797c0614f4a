import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isExecutable, runCommand } from './command.ts';
import { installedProgram, type Recipe } from './recipe.ts';

const kubernetes = 'v1.34.1';
const etcd = 'v3.5.21';

/** Path of both programs, if both are there: they take longer to build than all others together. */
export async function hasKubePrograms(): Promise<boolean> {
  const found = await Promise.all(['kube-apiserver', 'etcd'].map((name) => isExecutable(installedProgram(name))));
  return found.every(Boolean);
}

/** The API server of Kubernetes and its store, as dependencies of an empty module: their own refuse to be installed at a version. */
export const kubeRecipes: Recipe[] = [
  {
    name: 'kube-apiserver',
    wanted: kubernetes,
    program: 'bin/kube-apiserver',
    install: async (directory) =>
      build(
        directory,
        'kube-apiserver',
        ['k8s.io/kubernetes', kubernetes],
        [
          'package main',
          'import ("os"; "k8s.io/component-base/cli"; "k8s.io/kubernetes/cmd/kube-apiserver/app")',
          'func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }',
        ],
      ),
  },
  {
    name: 'etcd',
    wanted: etcd,
    program: 'bin/etcd',
    install: async (directory) =>
      build(
        directory,
        'etcd',
        ['go.etcd.io/etcd/server/v3', etcd],
        [
          'package main',
          'import ("os"; "go.etcd.io/etcd/server/v3/etcdmain")',
          'func main() { etcdmain.Main(os.Args) }',
        ],
      ),
  },
];

async function build(
  directory: string,
  name: string,
  [module, version]: [string, string],
  main: string[],
): Promise<void> {
  const scratch = await mkdtemp(join(directory, `${name}-`));
  try {
    await writeFile(join(scratch, 'go.mod'), `module scratch\ngo 1.24.0\nrequire ${module} ${version}\n`);
    const found = await runCommand('go', ['mod', 'download', '-json', `${module}@${version}`], { cwd: scratch });
    const { GoMod } = JSON.parse(found) as { GoMod: string };
    // What Kubernetes has in directories of its own is released as modules v0.
    const staged = [...(await readFile(GoMod, 'utf8')).matchAll(/^\s+(\S+) => \.\/staging/gm)].map(
      ([, path]) => `-replace=${path}=${path}@${version.replace(/^v1/, 'v0')}`,
    );
    if (staged.length > 0) await runCommand('go', ['mod', 'edit', ...staged], { cwd: scratch });
    await mkdir(join(scratch, 'cmd'));
    await writeFile(join(scratch, 'cmd/main.go'), main.join('\n'));
    const output = join(directory, 'bin', name);
    await runCommand('go', ['build', '-mod=mod', '-trimpath', '-ldflags=-s -w', '-o', output, './cmd'], {
      cwd: scratch,
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
