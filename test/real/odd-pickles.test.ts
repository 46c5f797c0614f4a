import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ByteCursor, windowsOf } from '../../src/hub/safety/byte-cursor.ts';
import { walkPickles } from '../../src/hub/safety/pickle-file.ts';
import { runCommand } from './command.ts';
import { installTools } from './tools.ts';

/** Random pickles of odd opcodes, beside the two readers of CPython: the one in C reads frames as the other one does not. */

interface OddPickle {
  bytes: string;
  names: [module: string, name: string][];
}

it('no reader of Python asks for a name that is neither found nor called dangerous because it cannot be told', async () => {
  const { scanner } = await installTools();
  const script = join(import.meta.dirname, 'odd_pickles.py');
  const text = await runCommand(scanner.path, [script, '1', '20000']);
  const samples = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as OddPickle);
  expect(samples.length).toBeGreaterThan(1000);

  const missed: string[] = [];
  for (const { bytes, names } of samples) {
    const data = Buffer.from(bytes, 'hex');
    const read = (offset: number, length: number): Promise<Buffer> =>
      Promise.resolve(data.subarray(offset, offset + length));
    const { imports } = await walkPickles(new ByteCursor(windowsOf({ size: data.length, read })));
    const isUntold = imports.some(({ module, name }) => module === null || name === null);
    for (const [module, name] of names)
      if (!isUntold && !imports.some((found) => found.module === module && found.name === name))
        missed.push(`${module} ${name} of ${bytes}`);
  }
  expect(missed).toEqual([]);
});
