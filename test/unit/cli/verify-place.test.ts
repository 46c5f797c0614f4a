import { expect, it } from 'vitest';
import { runVerify } from '../../../src/cli/verify-place.ts';
import { testContext } from '../../support/context.ts';
import { temporaryDirectory } from '../../support/place.ts';

it.each<[string, string | undefined, Record<string, unknown>]>([
  ['nothing is named', undefined, {}],
  ['two places are named', 'usb/b', { store: 'store' }],
  ['a key is given for a store', undefined, { store: 'store', key: ['maker.pem'] }],
  ['a receipt is given for a bundle', 'usb/b', { receipt: ['b.receipt.json'] }],
  ['a part is asked for of a bucket', 's3://models/m', { partial: true }],
  ['a bundle is named beside a registry', 'usb/b', { registry: 'registry.zone/x', receipt: ['b.receipt.json'] }],
  ['a registry is named with a scheme', undefined, { registry: 'https://registry.zone', receipt: ['b.receipt.json'] }],
  ['a registry is to be held against nothing', undefined, { registry: 'registry.zone/x' }],
])('verify refuses to run when %s', async (_, place, flags) => {
  await using directory = await temporaryDirectory();
  const { context } = await testContext({ cwd: directory.path });
  await expect(runVerify(place, flags, context)).rejects.toMatchObject({ code: 'E_USAGE' });
  await context.close();
});
