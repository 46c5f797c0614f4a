import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findCommand, runCommand } from './command.ts';
import type { Recipe } from './recipe.ts';

const GARAGE = '2.5.0';

/** Garage, a store of objects: https://garagehq.deuxfleurs.fr. Built for tests, so without optimisation. */
export const garageRecipe: Recipe = {
  name: 'garage',
  wanted: GARAGE,
  program: join('bin', 'garage'),
  install: async (directory) => {
    if ((await findCommand('cargo')) === undefined) throw new Error('the command `cargo` is missing: install Rust');
    const scratch = await mkdtemp(join(directory, 'garage-'));
    const features = ['--no-default-features', '--features', 'bundled-libs,sqlite'];
    const args = ['install', 'garage', '--version', GARAGE, '--locked', '--debug', ...features, '--root', directory];
    try {
      await runCommand('cargo', args, { env: { CARGO_TARGET_DIR: scratch, CARGO_PROFILE_DEV_DEBUG: '0' } });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  },
};
