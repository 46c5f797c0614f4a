import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binary, runCli } from '../support/cli.ts';
import {
  dimensions,
  dockerConfig,
  imageRepository,
  imageTag,
  modelId,
  startWorld,
  type World,
} from '../support/world.ts';

/**
 * The whole journey, through the real binary, with servers in this process that answer as the real ones do: nothing is
 * fetched from the internet. Ends with what stands in the zone; any step that fails ends the demo with exit code 1.
 */
async function demo(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'sie-mirror-demo-'));
  console.log(`This demo works in ${directory}\n`);
  const world = await startWorld({ weightsBytes: 8 * 1024 * 1024, layerBytes: 1024 * 1024 });
  try {
    await online(directory, world);
    await inside(directory, world);
    await showZone(directory, world);
  } finally {
    await world.close();
  }
  console.log(`\nDone: every step passed. Everything is still in ${directory}`);
}

async function online(directory: string, world: World): Promise<void> {
  heading('Online: fetch models and images, seal them');
  const reference = `${world.source.host}/${imageRepository}:${imageTag}`;
  const manifest = `apiVersion: sie-mirror/v1
kind: MirrorManifest
metadata: { name: sie-demo }
models:
  - { repo: ${modelId} }
images:
  - { ref: "${reference}" }
rewrite:
  - { from: "${world.source.host}/superlinked/", to: "sie/" }
`;
  await writeFile(join(directory, 'mirror.yaml'), manifest);
  console.log(`$ cat mirror.yaml\n${manifest}`);
  const step = stepper(directory, world.online);
  const insecure = ['--insecure-host', world.source.host];
  await step(['keygen', '--out', 'keys']);
  await step(['plan', 'mirror.yaml', ...insecure]);
  await step(['pull', 'mirror.lock.json', '--store', 'store', ...insecure]);
  await step([
    'bundle',
    '--store',
    'store',
    '--out',
    'usb',
    '--volume-size',
    '6MiB',
    '--sign',
    'keys/sie-mirror.key.pem',
  ]);
}

async function inside(directory: string, world: World): Promise<void> {
  heading('Inside the zone: only the drive, Node.js and the public key');
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), dockerConfig(world.zone));
  // From here on the tool is the one that travelled with the bundle.
  const step = stepper(directory, world.inside, 'usb/sie-demo/sie-mirror.mjs');
  const key = ['--key', 'keys/sie-mirror.pub.pem'];
  const target = [
    '--models',
    's3://models/sie-demo/models',
    '--images',
    `${world.zone.host}/mirror`,
    '--insecure-host',
    world.zone.host,
  ];
  await step(['inspect', 'usb/sie-demo', ...key]);
  await step(['verify', 'usb/sie-demo', ...key]);
  await step(['import', 'usb/sie-demo', ...target, ...key]);
  console.log('Once more, to see that nothing moves twice:\n');
  await step(['import', 'usb/sie-demo', ...target, ...key]);
  await step([
    'smoke',
    world.gateway.url,
    '--model',
    modelId,
    '--gpu',
    'l4',
    '--dim',
    String(dimensions),
    '--timeout',
    '60',
  ]);
}

/** Runs commands and shows them as a user would see them. */
function stepper(directory: string, env: Record<string, string>, tool?: string): (args: string[]) => Promise<void> {
  const shown = tool === undefined ? 'sie-mirror' : `node ${tool}`;
  return async (args) => {
    console.log(`$ ${shown} ${args.join(' ')}`);
    const { code, stdout, stderr } = await runCli(args, {
      cwd: directory,
      env,
      program: tool === undefined ? binary : join(directory, tool),
    });
    console.log(`${indent(stderr)}${indent(stdout)}`);
    if (code !== 0) throw new Error(`\`${args[0]}\` ended with exit code ${code}`);
  };
}

async function showZone(directory: string, world: World): Promise<void> {
  heading('What now stands in the zone');
  console.log('S3 bucket `models`:');
  for (const [key, { body }] of [...world.s3.objects].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  ${key}  ${body.length} bytes`);
  console.log('Registry:');
  for (const repository of world.zone.repositories())
    for (const tag of world.zone.tags(repository)) console.log(`  ${repository}:${tag}`);
  const receipt = JSON.parse(await readFile(join(directory, 'sie-demo.receipt.json'), 'utf8')) as { complete: boolean };
  if (!receipt.complete) throw new Error('the receipt does not say that the import is complete');
}

function heading(text: string): void {
  console.log(`== ${text} ==\n`);
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

try {
  await demo();
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
