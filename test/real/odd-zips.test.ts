import { join } from 'node:path';
import { expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { rangesOf } from '../../src/hub/safety/byte-ranges.ts';
import { inspectFile } from '../../src/hub/safety/file-safety.ts';
import { runCommand } from './command.ts';
import { installTools } from './tools.ts';

/** Random zips with several directories, comments, zip64 records and odd names, beside what Python's zipfile reads of them. */

interface OddZip {
  bytes: string;
  names: [module: string, name: string][];
}

it('no pickle that Python reads out of a zip is neither found nor called dangerous', async () => {
  const { scanner } = await installTools();
  const script = join(import.meta.dirname, 'odd_zips.py');
  const text = await runCommand(scanner.path, [script, '1', '10000']);
  const samples = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as OddZip);
  expect(samples.length).toBeGreaterThan(1000);

  const missed: string[] = [];
  for (const { bytes, names } of samples) {
    const found = await inspectFile('pytorch_model.bin', rangesOf(contentOf(Buffer.from(bytes, 'hex'))));
    if (found.findings.some(({ severity }) => severity === 'danger')) continue;
    const seen = new Set(found.pickle?.imports.map(({ module, name }) => `${module} ${name}`));
    missed.push(
      ...names
        .filter(([module, name]) => !seen.has(`${module} ${name}`))
        .map((name) => `${name.join(' ')} of ${bytes}`),
    );
  }
  expect(missed).toEqual([]);
});
