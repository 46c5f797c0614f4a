import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { kubeRecipes } from './kube-programs.ts';
import { installInOrder, toolsDirectory } from './recipe.ts';

/** Builds kube-apiserver and etcd beside the other tools: ten minutes, of which CI has none to spare. */
await mkdir(join(toolsDirectory(), 'bin'), { recursive: true });
await mkdir(join(toolsDirectory(), 'stamps'), { recursive: true });
await installInOrder(kubeRecipes);
