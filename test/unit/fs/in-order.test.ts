import { mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isInOrderMedium } from '../../../src/fs/in-order.ts';
import { temporaryDirectory } from '../../support/place.ts';

/** What Linux would say of the device that `place` lies on, if it were a partition of this disk. */
async function sysOf(place: string, disk: string, facts: Record<string, string>): Promise<string> {
  const sys = join(place, 'sys');
  const partition = join(sys, 'devices', disk, `${disk}1`);
  await mkdir(join(sys, 'devices', disk, 'queue'), { recursive: true });
  await mkdir(partition);
  await mkdir(join(sys, 'dev/block'), { recursive: true });
  for (const [name, text] of Object.entries(facts)) await writeFile(join(sys, 'devices', disk, name), `${text}\n`);
  const { dev } = await stat(place);
  // Small numbers are their own two bytes.
  await symlink(partition, join(sys, 'dev/block', `${dev >> 8}:${dev & 255}`));
  return sys;
}

it.each([
  ['sda', '0', '0', false],
  ['sda', '1', '0', true],
  ['sda', '0', '1', true],
  ['vda', '1', '0', false],
  ['vda', '1', '1', true],
])('%s that turns: %s, and can be taken out: %s', async (disk, rotational, removable, isInOrder) => {
  await using place = await temporaryDirectory();
  const sys = await sysOf(place.path, disk, { 'queue/rotational': rotational, removable });

  expect(await isInOrderMedium(place.path, sys)).toBe(isInOrder);
});

it('a place without a device is none, and where nothing is known it is', async () => {
  await using place = await temporaryDirectory();
  await mkdir(join(place.path, 'sys/dev/block'), { recursive: true });

  expect(await isInOrderMedium(place.path, join(place.path, 'sys'))).toBe(false);
  expect(await isInOrderMedium(place.path, join(place.path, 'none'))).toBe(true);
});
