import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseCommandLine } from '../../src/cli/program.ts';
import { withNames } from '../../src/doctor/names.ts';
import { projectRoot } from '../support/cli.ts';
import { callsOf, commandsOf } from '../support/fix-commands.ts';

const commands = commandsOf(await readFile(join(projectRoot, 'docs/doctor.md'), 'utf8'));

it('what doctor says to type is a command for a shell, and ours are commands of this version', async () => {
  const calls = (await callsOf(commands)).flat();
  const ours = calls.filter(([program]) => program === 'sie-mirror');

  expect(commands.length).toBeGreaterThan(60);
  expect(ours.length).toBeGreaterThan(20);
  for (const [, ...words] of ours) {
    const refused = (text: string): never => expect.fail(`sie-mirror ${words.join(' ')}: ${text}`);
    expect(parseCommandLine(words, refused, refused), words.join(' ')).toBeDefined();
  }
});

it('each command for objects of a cluster says in which namespace', async () => {
  const calls = (await callsOf(commands)).flat().filter(([program]) => program === 'kubectl' || program === 'helm');
  const without = calls.filter(([, flag]) => flag !== '-n').map((call) => call.join(' '));
  expect(calls.length).toBeGreaterThan(30);
  expect(without.filter((call) => !/^kubectl (?:auth whoami|config view|get nodes )/.test(call))).toEqual([]);
});

it('names of the zone stay one word each, whatever is in them', async () => {
  const odd = `a b'c"d$e\`f;g*h`;
  const names = {
    bundle: `/media/${odd}`,
    models: `s3://models/${odd}/models`,
    images: `registry.zone/${odd}`,
    receipt: odd,
    gateway: `http://sie/${odd}/`,
    endpoint: `https://minio.zone/${odd}`,
    namespace: odd,
    workers: ['one', odd],
    chart: odd,
    release: odd,
  };
  const typed = [
    ['sie-mirror import BUNDLE --models MODELS_URL', ['sie-mirror', 'import', names.bundle, '--models', names.models]],
    ['sie-mirror doctor --receipt RECEIPT', ['sie-mirror', 'doctor', '--receipt', odd]],
    ['kubectl -n NAMESPACE delete pod WORKER_PODS', ['kubectl', '-n', odd, 'delete', 'pod', 'one', odd]],
    ['curl GATEWAY_URL/v1/configs/bundles', ['curl', `http://sie/${odd}/v1/configs/bundles`]],
    ['helm upgrade RELEASE CHART', ['helm', 'upgrade', odd, `./${odd}.tgz`]],
    ['aws s3 ls', ['aws', '--endpoint-url', names.endpoint, 's3', 'ls']],
    ['docker pull IMAGES_PLACE/alpine:3', ['docker', 'pull', `${names.images}/alpine:3`]],
  ] as const;
  const calls = await callsOf(typed.map(([fix]) => withNames(fix, names)));
  expect(calls).toEqual(typed.map(([, words]) => [words]));
});

it('what Helm would take apart is kept together for it', async () => {
  const names = { models: 's3://models/a,b{c}/models' };
  const [calls] = await callsOf([withNames('helm upgrade a b --set workers.common.clusterCache.url=CACHE_URL', names)]);
  expect(calls?.[0]?.at(-1)).toBe('workers.common.clusterCache.url=s3://models/a\\,b\\{c\\}/models');
});
