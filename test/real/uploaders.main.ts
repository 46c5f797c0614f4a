import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { uploaderRecipes } from './go-programs.ts';
import { installInOrder, toolsDirectory } from './recipe.ts';

/** Builds rclone and s5cmd beside the other tools, as peers of the bench: five minutes, of which CI has none to spare. */
await mkdir(join(toolsDirectory(), 'bin'), { recursive: true });
await mkdir(join(toolsDirectory(), 'stamps'), { recursive: true });
await installInOrder(uploaderRecipes());
