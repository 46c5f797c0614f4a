import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import type { Context } from '../../src/commands/context.ts';
import { copy } from '../../src/commands/copy.ts';
import { plan } from '../../src/commands/plan.ts';
import { snapshot } from '../../src/commands/snapshot.ts';
import { lockPlace } from '../../src/fs/lock.ts';
import { testContext } from '../support/context.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { buildImage } from '../support/images.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { startRegistry } from '../support/registry.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';
import { placeTool } from '../support/tool.ts';

/** What the other side may try, and other processes of this one. */

let world: World;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let directory: string;
let context: Context;

beforeEach(async () => {
  world = await startWorld({ weightsBytes: 64 * 1024, layerBytes: 2048 });
  place = await temporaryDirectory();
  directory = place.path;
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), dockerConfig(world.zone));
  const made = await testContext({
    cwd: directory,
    env: { ...world.online, ...world.inside },
    insecureHosts: [world.source.host, world.zone.host],
  });
  context = { ...made.context, toolFile: await placeTool(directory) };
});

afterEach(async () => {
  await context.close();
  await world.close();
  await place[Symbol.asyncDispose]();
});

describe('a registry that', () => {
  it('answers a pinned digest with another image is refused', async () => {
    const good = buildImage({ seed: 'good' });
    const evil = buildImage({ seed: 'evil' });
    world.source.put('pin', evil);
    // The manifest of another image under the digest that was asked for.
    const lies = createServer((request, response) => {
      const url = (request.url ?? '').replace(good.digest, evil.digest);
      void fetch(`${world.source.url}${url}`, {
        method: request.method ?? 'GET',
        headers: { accept: request.headers.accept ?? '*/*' },
      }).then(async (answer) => {
        const body = Buffer.from(await answer.arrayBuffer());
        const names = ['content-type', 'docker-content-digest', 'content-length'];
        response.writeHead(
          answer.status,
          Object.fromEntries(
            names.flatMap((name) => (answer.headers.get(name) ? [[name, answer.headers.get(name) ?? '']] : [])),
          ),
        );
        response.end(body);
      });
    });
    await new Promise<void>((done) => lies.listen(0, '127.0.0.1', done));
    const host = `127.0.0.1:${(lies.address() as AddressInfo).port}`;
    const { context: own } = await testContext({ cwd: directory, insecureHosts: [host] });
    expect(['E_DIGEST_MISMATCH', 'E_SIZE_MISMATCH']).toContain(
      await codeOf(copy({ source: `${host}/pin@${good.digest}`, target: 'oci:pinned', referrers: false }, own)),
    );
    expect(await readFile(join(directory, 'pinned/index.json'), 'utf8')).not.toContain(good.digest);
    await own.close();
    lies.close();
  });

  it('sends the password elsewhere by plain HTTP gets none', async () => {
    let seen = 0;
    const thief = createServer((_, response) => {
      seen += 1;
      response.end('{"token":"x"}');
    });
    await new Promise<void>((done) => thief.listen(0, '127.0.0.1', done));
    world.zone.server.faults = () => ({
      kind: 'status',
      status: 401,
      headers: {
        'www-authenticate': `Bearer realm="http://127.0.0.1:${(thief.address() as AddressInfo).port}/token",service="x"`,
      },
    });
    expect(await codeOf(copy({ source: `${world.zone.host}/a:b`, target: 'oci:x', referrers: false }, context))).toBe(
      'E_PROTOCOL',
    );
    expect(seen).toBe(0);
    thief.close();
  });

  it('sends uploads to a file or a link-local address is refused', async () => {
    for (const location of ['file:///etc/passwd', 'http://169.254.169.254/upload', 'http://[']) {
      const evil = await startRegistry();
      evil.server.faults = ({ method, path }) =>
        method === 'POST' && path.includes('uploads')
          ? { kind: 'status', status: 202, headers: { location } }
          : undefined;
      const { context: own } = await testContext({ cwd: directory, insecureHosts: [evil.host, world.source.host] });
      expect(
        await codeOf(
          copy(
            {
              source: `${world.source.host}/${imageRepository}:${imageTag}`,
              target: `${evil.host}/x:y`,
              referrers: false,
            },
            own,
          ),
        ),
      ).toBe('E_PROTOCOL');
      await own.close();
      await evil.close();
    }
  });

  it('lists tags without end is refused', async () => {
    world.source.server.faults = ({ path }) =>
      path.includes('tags/list')
        ? {
            kind: 'status',
            status: 200,
            headers: { link: `<${path}>; rel="next"`, 'content-type': 'application/json' },
            body: '{"tags":["a"]}',
          }
        : undefined;
    expect(
      await codeOf(
        copy(
          { source: `${world.source.host}/${imageRepository}:${imageTag}`, target: 'oci:x', referrers: true },
          context,
        ),
      ),
    ).toBe('E_PROTOCOL');
  });
});

describe('a store in which', () => {
  it('a file of a snapshot is missing makes no bundle', async () => {
    await snapshot({ repos: [modelId], store: 'store' }, context);
    const [link = ''] = (await filesBelow(join(directory, 'store'))).filter((path) =>
      path.endsWith('model.safetensors'),
    );
    await rm(join(directory, 'store', link));
    expect(await codeOf(bundle({ store: 'store', out: '.', name: 'b' }, context))).toBe('E_MISSING');
  });

  it('a layer was deleted gets it back by the same copy', async () => {
    const source = `${world.source.host}/${imageRepository}:${imageTag}`;
    await copy({ source, target: 'oci:store/oci', referrers: true }, context);
    const [first] = world.image.blobs.keys();
    const blob = join(directory, 'store/oci/blobs', (first ?? '').replace(':', '/'));
    await rm(blob);
    await copy({ source, target: 'oci:store/oci', referrers: true }, context);
    expect((await readFile(blob)).length).toBeGreaterThan(0);
  });

  it('another process enters an image while it is sealed makes no bundle that holds half of its index', async () => {
    const source = `${world.source.host}/${imageRepository}:${imageTag}`;
    await copy({ source, target: 'oci:store/oci', referrers: true }, context);
    const entering: Context = {
      ...context,
      report: (event) => {
        if (event.type !== 'stage' || !event.text.startsWith('writing')) return;
        const path = join(directory, 'store/oci/index.json');
        const index = JSON.parse(readFileSync(path, 'utf8')) as { manifests: object[] };
        writeFileSync(path, JSON.stringify({ ...index, manifests: [...index.manifests, ...index.manifests] }));
      },
    };
    const error = await failureOf(bundle({ store: 'store', out: '.', name: 'b' }, entering));
    expect(error.code).toBe('E_DIGEST_MISMATCH');
    expect(error.hint).not.toContain('delete');
    expect(await filesBelow(join(directory, 'b'))).not.toContain('SHA256SUMS');
  });

  it('another process works is left alone, and a lock that a dead one left is taken over', async () => {
    await mkdir(join(directory, 'store'));
    const lock = join(directory, 'store/.sie-mirror.lock');
    const alive = { pid: 1, isRunning: () => true };
    await using held = await lockPlace(lock, 'store', alive);
    const { context: second } = await testContext({ cwd: directory, env: world.online });
    const stubborn: Context = {
      ...second,
      lock: async (path) =>
        void (await lockPlace(join(path, '.sie-mirror.lock'), path, { pid: 2, isRunning: () => true })),
    };
    expect(await codeOf(snapshot({ repos: [modelId], store: 'store' }, stubborn))).toBe('E_REFUSED');
    expect(held).toBeDefined();
    // In this context process 1 does not run.
    expect(await snapshot({ repos: [modelId], store: 'store' }, second)).toMatchObject({ ok: true });
    await second.close();
    expect(await filesBelow(directory)).not.toContain('store/.sie-mirror.lock');
  });
});

describe('a mirror manifest', () => {
  it.each(['Bad Name!', '../up', 'a:b', ''])(
    'that places an image at `%s` is refused while it can be mended',
    async (to) => {
      await writeFile(
        join(directory, 'm.yaml'),
        `apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nimages: [{ ref: "${world.source.host}/${imageRepository}:${imageTag}", to: ${JSON.stringify(to)} }]\n`,
      );
      expect(await codeOf(plan({ manifest: 'm.yaml', out: 'lock.json' }, context))).toBe('E_MANIFEST');
    },
  );
});

it('an address that holds a password is refused, and not repeated', async () => {
  const { context: own } = await testContext({
    cwd: directory,
    env: { HF_ENDPOINT: 'https://me:hunter2@hub.example' },
  });
  const error: unknown = await snapshot({ repos: [modelId], store: 's' }, own).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'E_USAGE' });
  expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
  await own.close();
});
