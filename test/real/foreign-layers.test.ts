import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.ts';
import { buildArtifact } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { digestAt } from './comparison/finding.ts';
import { type RealServer, startDistribution, startOldDistribution } from './servers.ts';
import { installTools } from './tools.ts';

/** What registries say of addresses in manifests, and that what we advise then helps. */

const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const image = buildArtifact({
  seed: 'foreign',
  layers: [{ mediaType, bytes: Buffer.from('windows'), urls: ['https://owner.invalid/layer'] }],
});

let directory: string;
let source: TestRegistry;

beforeAll(async () => {
  await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-foreign-'));
  source = await startRegistry();
  source.put('windows', image, 'v1');
});

afterAll(async () => {
  await source.close();
  await rm(directory, { recursive: true, force: true });
});

async function withServer(
  start: typeof startDistribution,
  allowedUrls: string[] | undefined,
  work: (server: RealServer) => Promise<void>,
): Promise<void> {
  const place = await mkdtemp(join(directory, 'server-'));
  const server = await start(place, allowedUrls ? { allowedUrls } : {});
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}

describe.each([
  ['distribution v3', startDistribution],
  ['docker-registry 2.8', startOldDistribution],
])('an image with a foreign layer, at %s', (_, start) => {
  const copyTo = ({ host }: RealServer): ReturnType<typeof runCli> => {
    const insecure = [source.host, host].flatMap((each) => ['--insecure-host', each]);
    return runCli(
      ['copy', `${source.host}/windows:v1`, `${host}/windows:v1`, '--retries', '0', '--json', ...insecure],
      {
        cwd: directory,
      },
    );
  };

  it('is refused as long as its addresses are not allowed, and the error says what to allow', async () => {
    await withServer(start, undefined, async (server) => {
      const { code, stdout } = await copyTo(server);

      expect(code).toBe(8);
      const { error } = JSON.parse(stdout) as { error: { code: string; hint: string } };
      expect(error.code).toBe('E_REFUSED');
      expect(error.hint).toContain('urls: {allow');
    });
  });

  it('goes over where they are', async () => {
    await withServer(start, ['^https://'], async (server) => {
      expect((await copyTo(server)).code).toBe(0);
      expect(await digestAt(server.host, 'windows', 'v1')).toBe(image.digest);
    });
  });
});
