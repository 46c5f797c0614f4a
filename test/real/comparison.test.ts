import { beforeAll, expect, it } from 'vitest';
import { pushSigned, signedImage } from './comparison/images.ts';
import { again } from './comparison/registries.ts';
import { comparisonRows } from './comparison/rows.ts';
import { type CopyTool, copyTools } from './copy-tools.ts';
import { Lab } from './lab.ts';
import { installTools, type Tools } from './tools.ts';

/** The column of ours in docs/copy-comparison.md; the columns of the peers are measured by compare.main.ts. */

let tools: Tools;
let ours: CopyTool;

beforeAll(async () => {
  tools = await installTools();
  [ours] = copyTools(tools);
});

it.each(comparisonRows.map((row) => [row.title, row] as const))('%s', async (_, row) => {
  await using lab = await Lab.open({ tools, unit: 4 * 1024 ** 2, timeoutMs: 120_000 });
  const finding = await row.measure(ours, lab);
  expect(finding, finding.detail).toMatchObject({ verdict: 'ok' });
});

it('again, nothing changed: one HEAD on each side without referrers', async () => {
  await using lab = await Lab.open({ tools, unit: 1, timeoutMs: 60_000 });
  expect(await again.measure(ours, lab)).toEqual({ verdict: 'ok', detail: 'HEAD 1 + HEAD 1' });
});

it.each([true, false])(
  'again, with referrers (API at the target: %s): no blob is asked for, nothing is uploaded',
  async (api) => {
    await using lab = await Lab.open({ tools, unit: 1, timeoutMs: 60_000 });
    const [from, to] = [await lab.olareg(), api ? await lab.olareg() : await lab.distribution()];
    const [source, target] = [await lab.proxy(from.host), await lab.proxy(to.host)];
    await pushSigned(from.host, 'signed', signedImage(), 'v1', false);
    const request = { source: `${source.host}/signed:v1`, target: `${target.host}/signed:v1`, referrers: true };
    expect(await lab.run(ours, request)).toMatchObject({ code: 0 });
    expect(target.takeRequests().some((each) => each.startsWith('PUT '))).toBe(true);
    source.takeRequests();

    expect(await lab.run(ours, request)).toMatchObject({ code: 0 });

    const requests = [...source.takeRequests(), ...target.takeRequests()];
    expect(requests.filter((each) => /\/blobs\/|^P/.test(each))).toEqual([]);
    expect(requests.length).toBeGreaterThan(1);
  },
);
