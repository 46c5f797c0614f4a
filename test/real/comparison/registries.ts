import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildImage, type BuiltImage } from '../../support/images.ts';
import type { RegistryAuthOptions } from '../../support/registry-auth.ts';
import { filesBelow } from '../../support/place.ts';
import { tryCommand } from '../command.ts';
import { bareEnvironment, type CopyTool, homeEnvironment } from '../copy-tools.ts';
import type { Lab } from '../lab.ts';
import { methodCounts } from '../proxy.ts';
import { pushImage } from '../seed.ts';
import { type ComparisonRow, failureOf, type Finding, none } from './finding.ts';
import { largeImage, pushSigned, signedImage } from './images.ts';

/** Rows about what registries and layouts demand. */

const user = { user: 'tester', password: 'a-password-of-the-tests' };
const auth: RegistryAuthOptions = { kind: 'bearer', ...user };

export const again: ComparisonRow = {
  title: 'again, nothing changed: requests at source + target',
  about:
    'an image of six layers between two distribution registries, copied twice; the requests of the second time, `GET /v2/` not counted',
  measure: async (tool, lab) => {
    const [from, to] = [await lab.distribution(), await lab.distribution()];
    const [source, target] = [await lab.proxy(from.host), await lab.proxy(to.host)];
    const image = largeImage(1000);
    await pushImage(from.host, 'large', image, 'v1');
    const request = { source: `${source.host}/large:v1`, target: `${target.host}/large:v1` };
    const first = failureOf(await lab.run(tool, request));
    if (first) return first;
    source.takeRequests();
    target.takeRequests();
    const second = failureOf(await lab.run(tool, request));
    if (second) return second;
    const sides = [source, target].map((proxy) => proxy.takeRequests().filter((each) => each !== 'GET /v2/'));
    const detail = sides.map(methodCounts).join(' + ');
    const busy = sides.flat().some((each) => /blobs|^P/.test(each));
    return { verdict: busy ? 'partly' : 'ok', detail };
  },
};

export const credentials: ComparisonRow = {
  title: "credentials: podman's auth.json / docker's credsStore",
  about:
    'both registries want a bearer token for an account that stands in `REGISTRY_AUTH_FILE` alone, or in a credential helper alone',
  measure: async (tool, lab) => {
    const file = await withAccounts(tool, lab, async (hosts, home) => {
      const env = await homeEnvironment(
        home,
        hosts.map((host) => ({ host, ...user })),
      );
      const path = join(home, 'auth.json');
      await writeFile(path, await readFile(join(home, '.docker/config.json')));
      await rm(join(home, '.docker/config.json'));
      return { ...env, REGISTRY_AUTH_FILE: path };
    });
    const helper = await withAccounts(tool, lab, async (_, home) => {
      await mkdir(join(home, '.docker'));
      await writeFile(join(home, '.docker/config.json'), '{"credsStore":"test"}');
      const program = join(home, 'docker-credential-test');
      const answer = JSON.stringify({ Username: user.user, Secret: user.password });
      await writeFile(program, `#!/bin/sh\ncat >/dev/null\necho '${answer}'\n`);
      await chmod(program, 0o755);
      return { ...bareEnvironment(home), PATH: `${home}:${process.env['PATH'] ?? ''}` };
    });
    const detail = `${file ? 'ok' : 'no'} / ${helper ? 'ok' : 'no'}`;
    if (file && helper) return { verdict: 'ok', detail };
    return { verdict: file || helper ? 'partly' : 'fails', detail };
  },
};

async function withAccounts(
  tool: CopyTool,
  lab: Lab,
  prepare: (hosts: string[], home: string) => Promise<Record<string, string>>,
): Promise<boolean> {
  const image = buildImage({ seed: 'private' });
  const [source, target] = [await lab.standIn({ auth }), await lab.standIn({ auth })];
  source.put('private', image, 'v1');
  const env = await prepare([source.host, target.host], await lab.place('home'));
  const run = await lab.run(
    tool,
    { source: `${source.host}/private:v1`, target: `${target.host}/private:v1` },
    { env },
  );
  return run?.code === 0 && target.manifest('private', 'v1')?.digest === image.digest;
}

export const deadTokens: ComparisonRow = {
  title: 'tokens that die in the run',
  about: 'all tokens that a registry gave end with every seventh request to it, long before the time that it had named',
  measure: async (tool, lab) => {
    const image = largeImage(1000);
    const open = async (): ReturnType<Lab['standIn']> => {
      let count = 0;
      const registry = await lab.standIn({
        auth,
        faults: () => {
          count += 1;
          if (count % 7 === 0) registry.expireTokens();
          return undefined;
        },
      });
      return registry;
    };
    const [source, target] = [await open(), await open()];
    source.put('large', image, 'v1');
    const env = await homeEnvironment(
      await lab.place('home'),
      [source, target].map(({ host }) => ({ host, ...user })),
    );
    const run = await lab.run(tool, { source: `${source.host}/large:v1`, target: `${target.host}/large:v1` }, { env });
    return failureOf(run) ?? arrivedIn(target.manifest('large', 'v1')?.digest, image);
  },
};

export const refusedMounts: ComparisonRow = {
  title: 'mounts refused with 403, 404, 405',
  about:
    'from one repository to another of the same registry, which answers each attempt to mount a blob with that status',
  measure: async (tool, lab) => {
    const image = largeImage(1000);
    const outcomes: string[] = [];
    for (const mount of [403, 404, 405]) {
      const registry = await lab.standIn({ mount });
      registry.put('one', image, 'v1');
      const run = await lab.run(tool, { source: `${registry.host}/one:v1`, target: `${registry.host}/two:v1` });
      const finding = failureOf(run) ?? arrivedIn(registry.manifest('two', 'v1')?.digest, image);
      if (finding.verdict !== 'ok') outcomes.push(`${mount} ${finding.verdict}`);
    }
    const worst = outcomes.some((each) => each.endsWith('hangs')) ? 'hangs' : 'fails';
    return { verdict: outcomes.length === 0 ? 'ok' : worst, detail: outcomes.join(', ') };
  },
};

function arrivedIn(digest: string | undefined, image: BuiltImage): Finding {
  return { verdict: digest === image.digest ? 'ok' : 'partly', detail: '' };
}

export const layoutReaders: ComparisonRow = {
  title: 'layout that others read, referrers included',
  about:
    'a signed index from olareg as an image layout; skopeo, oras and regctl have to find it by its name there, and oras the SBOM that refers to it',
  measure: async (tool, lab) => {
    const image = signedImage();
    const source = await lab.olareg();
    await pushSigned(source.host, 'signed', image, 'v1', false);
    const layout = join(await lab.place('layouts'), 'layout');
    const request = { source: `${source.host}/signed:v1`, target: { layout, name: 'v1' }, referrers: true };
    const failure = failureOf(await lab.run(tool, request));
    if (failure) return failure;
    const { skopeo, oras, regctl } = lab.tools;
    const env = bareEnvironment(lab.directory);
    const reads = async (program: string, args: string[], wanted: string): Promise<boolean> => {
      const { code, stdout } = await tryCommand(program, args, { env });
      return code === 0 && stdout.includes(wanted);
    };
    const discover = ['discover', '--oci-layout', '--format', 'json', `${layout}@${image.root.digest}`];
    const seen: [string, boolean][] = [
      ['by skopeo', await reads(skopeo, ['inspect', '--raw', `oci:${layout}:v1`], image.child.digest)],
      ['by oras', await reads(oras, ['resolve', '--oci-layout', `${layout}:v1`], image.root.digest)],
      ['by regctl', await reads(regctl, ['manifest', 'head', `ocidir://${layout}:v1`], image.root.digest)],
      ['its SBOM', await reads(oras, discover, image.sbom.digest)],
    ];
    const blind = seen.filter(([, found]) => !found).map(([what]) => what);
    return blind.length === 0
      ? { verdict: 'ok', detail: '' }
      : { verdict: 'partly', detail: `not found: ${blind.join(', ')}` };
  },
};

const writers = 4;

export const manyWriters: ComparisonRow = {
  title: `${writers} processes write into one layout`,
  about: 'each another image, at the same time; those that say that all went well have to be in `index.json`, whole',
  measure: async (tool, lab) => {
    const source = await lab.distribution();
    const layout = join(await lab.place('layouts'), 'layout');
    const images = Array.from({ length: writers }, (_, index) =>
      buildImage({ seed: `writer ${index}`, layerBytes: 200_000 }),
    );
    for (const [index, image] of images.entries()) await pushImage(source.host, `writer${index}`, image, 'v1');
    const runs = await Promise.all(
      images.map((_, index) =>
        lab.run(tool, { source: `${source.host}/writer${index}:v1`, target: { layout, name: `v${index}` } }),
      ),
    );
    const stuck = runs.find((run) => run?.timedOut === true);
    if (stuck) return failureOf(stuck) ?? none;
    const index = await readFile(join(layout, 'index.json'), 'utf8').catch(() => '');
    const files = new Set((await filesBelow(layout)).map((path) => path.split('/').at(-1)));
    const whole = images.filter(
      ({ digest, blobs }) =>
        index.includes(digest) && [digest, ...blobs.keys()].every((each) => files.has(each.slice('sha256:'.length))),
    );
    const glad = images.filter((_, number) => runs[number]?.code === 0);
    const detail = `${glad.length} say ok, ${whole.length} are there`;
    return {
      verdict: glad.every((image) => whole.includes(image)) ? (glad.length === writers ? 'ok' : 'partly') : 'fails',
      detail,
    };
  },
};
