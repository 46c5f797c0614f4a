import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { makeKeyPair } from '../../src/bundle/proof/seal.ts';
import { bundle } from '../../src/commands/bundle.ts';
import { verify } from '../../src/commands/verify.ts';
import { verifyZone } from '../../src/commands/verify/zone.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { codeOf } from '../support/failures.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';

const models = 's3://models/m';
let zone: MadeBundle;
let run: TestContext;

beforeAll(async () => {
  zone = await makeBundle({ 'org/name': { 'model.bin': Buffer.alloc(5000, 'a') } });
  for (const name of ['zone', 'other']) {
    const { privatePem, publicPem } = makeKeyPair();
    await writeFile(join(zone.path, `${name}.key`), privatePem);
    await writeFile(join(zone.path, `${name}.pub`), publicPem);
  }
  run = await testContext({ cwd: zone.path, toolFile: join(zone.path, 'tool.mjs') });
});

afterAll(async () => {
  await run.context.close();
  await zone[Symbol.asyncDispose]();
});

beforeEach(() => zone.s3.objects.clear());

const file = (name: string): Promise<string> => readFile(join(zone.path, name), 'utf8');
const verdict = async (keys: string[]): Promise<string | undefined> =>
  (await verify({ bundle: 'b.receipt.json', keys }, run.context)).verdict;
const receipts = (): string[] =>
  [...zone.s3.objects.keys()].filter((key) => key.includes('/.sie-mirror/')).map((key) => key.split('/').at(-1) ?? '');

it('signs the receipt as bundles are signed, in the file and in the target', async () => {
  await zone.bring({ models, sign: 'zone.key' });

  const text = await file('b.receipt.json');
  const signature = Buffer.from(await file('b.receipt.json.sig'), 'base64');
  expect(verifySignature('sha256', Buffer.from(text), createPublicKey(await file('zone.pub')), signature)).toBe(true);
  expect(await verdict(['zone.pub'])).toBe('GOOD');
  expect(receipts()).toEqual(['b.receipt.json', 'b.receipt.json.sig', 'b.receipt.json.sigstore.json']);
  const stored = Buffer.from(zone.s3.objects.get('models/m/.sie-mirror/b.receipt.json.sig')?.body ?? '').toString();
  const inTarget = Buffer.from(stored, 'base64');
  expect(verifySignature('sha256', Buffer.from(text), createPublicKey(await file('zone.pub')), inTarget)).toBe(true);
});

it('is refused with another key, without a signature, and when it was changed', async () => {
  await zone.bring({ models, sign: 'zone.key' });
  expect(await verdict([])).toBe('READABLE, SIGNATURE NOT CHECKED');
  expect(await codeOf(verdict(['other.pub']))).toBe('E_SIGNATURE');
  const text = await file('b.receipt.json');
  await writeFile(join(zone.path, 'b.receipt.json'), text.replace('"complete": true', '"complete": false'));
  expect(await codeOf(verdict(['zone.pub']))).toBe('E_SIGNATURE');

  await zone.bring({ models });

  expect((await readdir(zone.path)).filter((name) => name.startsWith('b.receipt'))).toEqual(['b.receipt.json']);
  expect(await codeOf(verdict(['zone.pub']))).toBe('E_SIGNATURE');
});

it('is the base of a delta only when the key that was asked for has signed it', async () => {
  await zone.bring({ models, sign: 'zone.key' });
  const delta = (baseKeys: string[]): Promise<unknown> =>
    bundle({ store: 'store', out: 'delta', name: 'd', base: 'b.receipt.json', baseKeys }, run.context);

  expect(await codeOf(delta(['other.pub']))).toBe('E_SIGNATURE');
  await delta(['zone.pub']);

  expect(
    await codeOf(bundle({ store: 'store', out: 'delta', base: 'usb/b', baseKeys: ['zone.pub'] }, run.context)),
  ).toBe('E_SIGNATURE');
});

it('is what a place in the zone is held against only when the key that was asked for has signed it', async () => {
  await zone.bring({ models: 'file:zone', sign: 'zone.key' });
  const check = (keys: string[]): Promise<Report> =>
    verifyZone({ models: `file://${join(zone.path, 'zone')}`, receipts: ['b.receipt.json'], keys }, run.context);

  expect((await check(['zone.pub'])).ok).toBe(true);
  expect(await codeOf(check(['other.pub']))).toBe('E_SIGNATURE');
});

it('writes nothing again when nothing has changed, and lets no signature of another text stand', async () => {
  await zone.bring({ models, sign: 'zone.key' });
  zone.requests();
  await zone.bring({ models, sign: 'zone.key' });
  expect(zone.requests().filter((request) => !/^(?:GET|HEAD) /.test(request))).toEqual([]);

  zone.s3.put('models', 'm/.sie-mirror/b.receipt.json', 'changed');
  await zone.bring({ models });

  expect(receipts()).toEqual(['b.receipt.json']);
});

it('looks for the key before anything moves', async () => {
  expect(await codeOf(zone.bring({ models, sign: 'zone.pub' }))).toBe('E_USAGE');
  expect(zone.s3.objects.size).toBe(0);
});
