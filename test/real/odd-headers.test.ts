import { join } from 'node:path';
import { expect, it } from 'vitest';
import { contentOf } from '../../src/core/stream.ts';
import { rangesOf } from '../../src/hub/safety/byte-ranges.ts';
import { checkSafetensors } from '../../src/hub/safety/safetensors.ts';
import { runCommand } from './command.ts';
import { installTools } from './tools.ts';

/** Random safetensors files, most of them with something wrong, beside what the safetensors library says of them. */

interface OddHeader {
  bytes: string;
  taken: boolean;
}

it('takes and refuses the headers that the safetensors library takes and refuses, but for a space at the beginning', async () => {
  const { scanner } = await installTools();
  const text = await runCommand(scanner.path, [join(import.meta.dirname, 'odd_headers.py'), '1', '5000']);
  const samples = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as OddHeader);
  expect(samples.filter(({ taken }) => taken).length).toBeGreaterThan(500);
  expect(samples.filter(({ taken }) => !taken).length).toBeGreaterThan(500);

  const others: string[] = [];
  for (const { bytes, taken } of samples) {
    const file = Buffer.from(bytes, 'hex');
    const { fault } = await checkSafetensors(rangesOf(contentOf(file)));
    const isOther = taken ? fault !== undefined && !isSpace(file[8]) : fault === undefined;
    if (isOther) others.push(`${taken ? `is taken, and ${fault ?? ''}` : 'is refused'}: ${bytes}`);
  }
  expect(others).toEqual([]);
});

/** What JSON may begin with, and the format of safetensors may not. */
function isSpace(byte: number | undefined): boolean {
  return byte !== undefined && [0x20, 0x09, 0x0a, 0x0d].includes(byte);
}
