import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { importBundle } from '../../src/commands/import.ts';
import { verify } from '../../src/commands/verify.ts';
import { testContext } from '../support/context.ts';
import { changed, jsonChange } from '../support/hostile-json.ts';
import { makeBundle } from '../support/made-bundle.ts';
import { filesBelow } from '../support/place.ts';
import { expectTame } from '../support/tame.ts';

it('an inventory that says anything crashes nothing, and brings nothing anywhere but to the target', async () => {
  const bytes = Buffer.alloc(70_000, 'weights');
  await using made = await makeBundle({ 'org/name': { 'config.json': Buffer.from('{}'), 'a.bin': bytes } });
  const bundle = join(made.path, 'usb/b');
  const original: unknown = JSON.parse(await readFile(join(bundle, 'inventory.json'), 'utf8'));
  const sums = await readFile(join(bundle, 'SHA256SUMS'), 'utf8');
  const around = async (): Promise<string[]> =>
    (await filesBelow(made.path)).filter((path) => !path.startsWith('zone/') && path !== 'r.json');
  const before = await around();
  const { context } = await testContext({ cwd: made.path });
  const outcomes = { brought: 0, refused: 0 };

  const run = async (work: () => Promise<{ ok: boolean }>): Promise<boolean> => {
    try {
      return (await work()).ok;
    } catch (error) {
      expectTame(error, [
        'E_CORRUPT',
        'E_MISSING',
        'E_SIZE_MISMATCH',
        'E_DIGEST_MISMATCH',
        'E_BASE_MISSING',
        'E_USAGE',
      ]);
      return false;
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.array(jsonChange, { minLength: 1, maxLength: 2 }), async (changes) => {
      const text = JSON.stringify(changed(original, changes));
      const digest = createHash('sha256').update(text).digest('hex');
      await writeFile(join(bundle, 'inventory.json'), text);
      await writeFile(join(bundle, 'SHA256SUMS'), sums.replace(/^.{64}(?= {2}inventory\.json$)/m, digest));

      await run(() => verify({ bundle: 'usb/b' }, context));
      const brought = await run(() =>
        importBundle({ bundle: 'usb/b', models: 'file:zone', receipt: 'r.json' }, context),
      );

      outcomes[brought ? 'brought' : 'refused'] += 1;
      expect(await around()).toEqual(before);
      await rm(join(made.path, 'zone'), { recursive: true, force: true });
      await rm(join(made.path, 'r.json'), { force: true });
    }),
    { seed: 11, numRuns: 15, interruptAfterTimeLimit: 20_000 },
  );
  await context.close();
  expect([outcomes.brought > 0, outcomes.refused > 0]).toEqual([true, true]);
});
