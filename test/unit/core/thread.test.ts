import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

/** Of a process of its own, as it asks something of V8 for good: MiB of what is new after much has stayed for a while. */
function newSpaceAfter(prepare: string): number {
  const program = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { keepHeapSmall } from './src/core/engine.ts';
    import { startThread } from './src/core/thread.ts';
    ${prepare}
    const thread = startThread('');
    await new Promise((resolve) => thread.once('exit', resolve));
    const many = [];
    for (let round = 0; round < 40; round += 1) { many.length = 0; for (let index = 0; index < 60_000; index += 1) many.push({ index, more: { round } }); }
    console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size / 2 ** 20);`;
  const argv = ['--import', 'tsx', '--input-type=module', '--eval', program];
  return Number(execFileSync(process.execPath, argv, { encoding: 'utf8' }));
}

it('a heap that is to stay small does so, though threads are started later', () => {
  expect(newSpaceAfter('')).toBeGreaterThanOrEqual(16);
  expect(newSpaceAfter('keepHeapSmall();')).toBeLessThanOrEqual(8);
});
