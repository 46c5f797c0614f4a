import { join } from 'node:path';
import { expect, it } from 'vitest';
import { compilePattern } from '../../src/hub/selection/fnmatch.ts';
import { projectRoot } from '../support/cli.ts';
import { runCommand } from './command.ts';
import { findPythons } from './python.ts';

it('patterns fit what they fit in CPython, on vectors that nobody has seen before', async () => {
  const [python] = await findPythons();
  if (!python) throw new Error('there is no Python 3 here');
  const seed = String(Date.now());
  const made = await runCommand(python.path, [join(projectRoot, 'fixtures/fnmatch-vectors.py'), seed, '120000']);
  const vectors = JSON.parse(made) as [string, string, boolean][];
  expect(vectors).toHaveLength(120_000);
  const wrong = vectors.filter(([pattern, text, fits]) => compilePattern(pattern)(text) !== fits);
  expect(wrong.slice(0, 10), `seed ${seed}`).toEqual([]);
});
