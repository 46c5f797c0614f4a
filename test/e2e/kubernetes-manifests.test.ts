import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseCommandLine } from '../../src/cli/program.ts';
import { projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { receiptOf } from '../support/receipts.ts';
import { startGateway } from '../support/sie.ts';

interface Container {
  command: string[];
  args?: string[];
  volumeMounts: { name: string; mountPath: string }[];
}
interface PodSpec {
  initContainers: [Container];
  containers: [Container];
  volumes: { name: string; configMap?: { name: string } }[];
}
interface Manifest {
  kind: string;
  metadata: { annotations?: object };
  spec: PodSpec & { backoffLimit?: number; template?: { spec: PodSpec } };
}

const names = ['smoke-job.yaml', 'smoke-helm-test.yaml', 'doctor-job.yaml', 'doctor-daemonset.yaml'];

function read(name: string): Manifest[] {
  const text = readFileSync(join(projectRoot, 'manifests/kubernetes', name), 'utf8');
  return parseAllDocuments(text).map((each) => each.toJS() as Manifest);
}

function podOf(name: string): PodSpec {
  const last = read(name).at(-1);
  if (!last) throw new Error(`${name} is empty`);
  return last.spec.template?.spec ?? last.spec;
}

it.each(names)('%s runs a command line that there is, with what it mounts', (name) => {
  const { containers, initContainers, volumes } = podOf(name);
  const [{ command, args = [], volumeMounts }] = containers;
  const found = parseCommandLine(
    args,
    () => {},
    (text) => expect.fail(text),
  );
  expect(found?.command).toBe(name.split('-')[0]);
  const known = volumes.map((each) => each.name);
  for (const mount of [...volumeMounts, ...initContainers[0].volumeMounts]) expect(known).toContain(mount.name);
  const places = volumeMounts.map(({ mountPath }) => mountPath);
  for (const [path] of [...command, ...args].join(' ').matchAll(/(?<=^|\s|')\/[\w./-]+/g))
    expect(places.some((place) => path === place || path.startsWith(`${place}/`))).toBe(true);
});

it('are a Job that is not repeated, and a hook of helm test', () => {
  expect(read('smoke-job.yaml')[0]).toMatchObject({ kind: 'Job', spec: { backoffLimit: 0 } });
  expect(read('smoke-helm-test.yaml')[0]?.metadata.annotations).toMatchObject({ 'helm.sh/hook': 'test' });
});

it('unpack in their first container what the ConfigMap has room for, and run it', async () => {
  await using place = await temporaryDirectory();
  const commit = 'a'.repeat(40);
  const packed = {
    'sie-mirror.mjs': brotliCompressSync(await readFile(join(projectRoot, 'dist/sie-mirror.mjs'))),
    'receipt.json': brotliCompressSync(receiptOf({ 'org/one': commit })),
  };
  // https://kubernetes.io/docs/concepts/configuration/configmap/#motivation
  expect(Object.values(packed).reduce((sum, { length }) => sum + length, 0)).toBeLessThan(1024 * 1024);
  for (const directory of ['packed', 'tool']) await mkdir(join(place.path, directory));
  for (const [name, bytes] of Object.entries(packed)) await writeFile(join(place.path, 'packed', `${name}.br`), bytes);
  const here = (word: string): string => word.replaceAll(/(["' ]|^)\/(packed|tool)/g, `$1${place.path}/$2`);
  const { initContainers, containers } = podOf('smoke-job.yaml');
  const [, ...unpack] = initContainers[0].command.map(here);
  await promisify(execFile)(process.execPath, unpack);

  const gateway = await startGateway({ models: { 'org/one': { dim: 8, revision: commit } }, dialect: '0.10' });
  const [, program = ''] = containers[0].command.map(here);
  const args = (containers[0].args ?? []).map((word) => here(word).replace('http://sie-gateway:8080', gateway.url));
  const told = await runCli(args, { cwd: '/', program });

  expect(told.code, told.stderr).toBe(0);
  expect(JSON.parse(told.stdout)).toMatchObject({ ok: true, totals: { models: 1 } });
  await gateway.close();
});
