import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundleFiles } from '../../../src/bundle/records/inventory.ts';
import { openSealed } from '../../../src/bundle/reader.ts';
import { type Verdict, verifyBundle } from '../../../src/bundle/proof/verify.ts';
import { temporaryDirectory } from '../../support/place.ts';
import { buildBundle, makerKey } from '../../support/sealed-bundle.ts';

/** A bundle of which each of two media holds all: what is wrong on either is named, whichever is read. */

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let one: string;
let two: string;
const volume = 'b.0002.tar';

beforeEach(async () => {
  place = await temporaryDirectory();
  one = (await buildBundle(place.path, { 'hub/a': 40_000, 'hub/b': 50_000, 'oci/c': 30_000 })).directory;
  two = join(place.path, 'two');
  await cp(one, two, { recursive: true });
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

async function verify(): Promise<Verdict> {
  const sealed = await openSealed(one, { keys: [makerKey], required: 1 }, [two]);
  return verifyBundle(sealed, { threads: 1, onTotal: () => {}, onBytes: () => {} });
}

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[700] = (bytes[700] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

it('is good when both are', async () => {
  expect((await verify()).findings).toEqual([]);
});

describe.each(['one', 'two'])('on medium %s', (medium) => {
  const directory = (): string => (medium === 'one' ? one : two);

  it.each<[string, string, string, (path: string) => Promise<void>]>([
    ['another byte in a volume', volume, 'corrupt', flip],
    ['a volume that was cut', volume, 'size', (path) => truncate(path, 1024)],
    ['another inventory', bundleFiles.inventory, 'corrupt', (path) => writeFile(path, '{}')],
    ['another guide', bundleFiles.guide, 'corrupt', (path) => writeFile(path, 'x')],
  ])('%s is named with its directory', async (_, name, problem, damage) => {
    await damage(join(directory(), name));
    const { findings } = await verify();
    expect(findings.map((finding) => [finding.file, finding.problem])).toEqual([[name, problem]]);
    expect(findings[0]?.message).toContain(`\`${directory()}\``);
  });
});

it.each([bundleFiles.signature, bundleFiles.sigstore])('another %s on the second is named', async (name) => {
  await writeFile(join(two, name), 'AAAA\n');
  const { findings } = await verify();
  expect(findings).toMatchObject([{ file: name, problem: 'corrupt' }]);
  expect(findings[0]?.message).toContain(two);
});

it('what one copy lacks takes nothing away while the other is whole', async () => {
  await truncate(join(one, volume), 1024);
  await flip(join(two, 'b.0001.tar'));
  const { findings, damaged } = await verify();
  expect(findings.map(({ file }) => file).sort()).toEqual(['b.0001.tar', volume]);
  expect(damaged.size).toBe(0);
  await rm(join(two, 'b.0001.tar'));
  expect((await verify()).findings.map(({ file }) => file)).toEqual([volume]);
});
