import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { binary, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';
import { startWorld } from '../support/world.ts';

const mebi = 1024 * 1024;
const weights = 64 * mebi;
/** Node.js, the program, inventories: what a command reads and writes besides. */
const besides = 20 * mebi;

/** What a command handed to read and write calls, as the system counted for it and all its threads. */
async function counted(
  args: string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<{ read: number; written: number }> {
  // A shell's own counters have those of the children that it has waited for.
  const script = '"$@"; code=$?; cat /proc/$$/io; exit $code';
  const words = [script, 'sh', process.execPath, binary, ...args];
  const { code, stdout, stderr } = await runCli(words, { node: 'sh', program: '-c', cwd, env });
  expect([code, stderr]).toEqual([0, stderr]);
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(stdout)?.[1]);
  return { read: field('rchar'), written: field('wchar') };
}

it.skipIf(!existsSync('/proc/self/io'))(
  'bundle, verify and import read each byte once, and write it once',
  async () => {
    await using place = await temporaryDirectory();
    const world = await startWorld({ weightsBytes: mebi, layerBytes: mebi });
    try {
      const cwd = place.path;
      world.hub.addRepo({ id: 'org/big', files: { 'model.safetensors': seededBytes('big', weights) } });
      expect(await runCli(['snapshot', 'org/big', '--store', 'store'], { cwd, env: world.online })).toMatchObject({
        code: 0,
      });

      const volumes = ['--volume-size', '40MiB', '--name', 'b'];
      const made = await counted(['bundle', '--store', 'store', '--out', 'usb', ...volumes], cwd);
      const verified = await counted(['verify', 'usb/b'], cwd);
      const brought = await counted(['import', 'usb/b', '--models', 'file:zone'], cwd);

      for (const { read } of [made, verified, brought]) {
        expect(read).toBeGreaterThan(weights);
        expect(read).toBeLessThan(weights + besides);
      }
      for (const { written } of [made, brought]) expect(written).toBeLessThan(weights + besides);
      expect(verified.written).toBeLessThan(mebi);
    } finally {
      await world.close();
    }
  },
);
