import { beforeAll, describe, expect, it } from 'vitest';
import { type RegistryOptions, startRegistry } from '../support/registry.ts';
import { tryCommand } from './command.ts';
import { specimens } from './comparison/images.ts';
import { type CopyTool, copyTools, homeEnvironment } from './copy-tools.ts';
import { Lab } from './lab.ts';
import { installTools, type Tools } from './tools.ts';

/** The registry of this process is what most tests believe in: real clients have to find that it is one. */

const user = { user: 'tester', password: 'a-password-of-the-tests' };
const variants: [string, RegistryOptions][] = [
  ['open', {}],
  ['with bearer tokens', { auth: { kind: 'bearer', ...user } }],
  ['without referrers, with absolute locations', { referrers: false, location: 'absolute' }],
];

let tools: Tools;

beforeAll(async () => {
  tools = await installTools();
});

describe.each(variants)('the registry of the tests, %s', (_, options) => {
  it.each(['crane', 'oras', 'regctl', 'skopeo'])('is read and written by %s', async (name) => {
    await using lab = await Lab.open({ tools, unit: 1, timeoutMs: 60_000 });
    const tool = copyTools(tools).find((each) => each.name === name) as CopyTool;
    const [source, target] = [await startRegistry(options), await startRegistry(options)];
    const accounts = [source, target].map(({ host }) => ({ host, ...user }));
    const env = await homeEnvironment(await lab.place('home'), options.auth ? accounts : []);
    for (const { name: item, image } of specimens().filter(({ layers }) => layers)) {
      // This version of skopeo looks for an image where an index names an index.
      if (name === 'skopeo' && item === 'nested-index') continue;
      source.put(item, image, 'v1');
      const request = { source: `${source.host}/${item}:v1`, target: `${target.host}/${item}:v1`, referrers: true };
      const run = await lab.run(tool, request, { env });
      expect(run, run?.stderr).toMatchObject({ code: 0 });
      expect(target.manifest(item, 'v1')?.digest).toBe(image.digest);
      for (const [digest, bytes] of image.blobs)
        expect(Buffer.compare(target.blob(item, digest) ?? Buffer.of(), bytes), digest).toBe(0);
      const args = ['validate', '--insecure', '--remote', request.target];
      const valid = await tryCommand(tools.crane, args, { env });
      expect(valid, valid.stderr).toMatchObject({ code: 0 });
    }
    // Throws for a request that it did not know.
    await source.close();
    await target.close();
  });
});
