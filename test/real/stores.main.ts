import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { installInOrder, toolsDirectory } from './recipe.ts';
import { garageRecipe } from './rust-programs.ts';

/** Builds Garage beside the other tools, as one more store: ten minutes, of which CI has none to spare. */
await mkdir(join(toolsDirectory(), 'bin'), { recursive: true });
await mkdir(join(toolsDirectory(), 'stamps'), { recursive: true });
await installInOrder([garageRecipe]);
