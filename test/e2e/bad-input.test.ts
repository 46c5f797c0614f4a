import { cp, mkdir, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { binary, type CliOptions, type CliResult, runCli } from '../support/cli.ts';
import { filesBelow, temporaryDirectory } from '../support/place.ts';
import { dockerConfig, imageRepository, imageTag, modelId, startWorld, type World } from '../support/world.ts';

/** Each case: what went wrong, the documented exit code, what the message must name, and that nothing half-done stands there. */

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let world: World;
let directory: string;
let reference: string;
let insecure: string[];

beforeAll(async () => {
  place = await temporaryDirectory();
  directory = place.path;
  world = await startWorld();
  reference = `${world.source.host}/${imageRepository}:${imageTag}`;
  insecure = ['--insecure-host', world.source.host, '--insecure-host', world.zone.host];
  await mkdir(join(directory, '.docker'));
  await writeFile(join(directory, '.docker/config.json'), dockerConfig(world.zone));
  for (const args of [
    ['keygen', '--out', 'keys'],
    ['keygen', '--out', 'other-keys'],
    ['snapshot', modelId, '--store', 'store'],
    ['copy', reference, 'oci:store/oci', ...insecure],
    [
      'bundle',
      '--store',
      'store',
      '--out',
      'usb',
      '--name',
      'good',
      '--volume-size',
      '128KiB',
      '--sign',
      'keys/sie-mirror.key.pem',
    ],
  ])
    expect(await run(args, { env: world.online })).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await world.close();
  await place[Symbol.asyncDispose]();
});

async function run(args: string[], options: Partial<CliOptions> = {}): Promise<CliResult> {
  return runCli(args, { cwd: directory, ...options });
}

const retries = ['--retries', '0'];

/** Runs a command that has to fail, and checks that code and JSON agree and that each of `named` is said. */
async function fails(
  args: string[],
  exit: number,
  named: (string | RegExp)[],
  env: Record<string, string> = {},
): Promise<CliResult> {
  const result = await run([...args, ...retries], { env });
  expect({ code: result.code, stderr: result.stderr }).toMatchObject({ code: exit });
  for (const text of named) expect(`${result.stderr}\n${result.stdout}`).toMatch(text);
  expect(result.stderr).not.toMatch(/\n\s+at /);
  const json = await run([...args, ...retries, '--json'], { env });
  expect(json.code).toBe(exit);
  expect(JSON.parse(json.stdout)).toMatchObject({ ok: false });
  return result;
}

describe('what cannot be found', () => {
  it('names an unknown repo', () => fails(['snapshot', 'no/such-repo'], 7, ['no/such-repo'], world.online));
  it('names an unknown revision', () =>
    fails(['snapshot', `${modelId}@v9`], 7, [`${modelId}@v9`, 'revision'], world.online));
  it('names an unknown image', () =>
    fails(['copy', `${world.source.host}/no/such:tag`, 'oci:x', ...insecure], 7, ['no/such:tag', 'source']));
  it('names an unknown tag', () =>
    fails(['copy', `${world.source.host}/${imageRepository}:nope`, 'oci:x', ...insecure], 7, ['nope']));
  it('names an unknown bucket', () =>
    fails(['import', 'usb/good', '--models', 's3://nobucket/x'], 7, ['nobucket'], world.inside));
  it('names a bundle that is not there', () => fails(['verify', 'usb/none'], 7, ['usb/none', 'SHA256SUMS']));
  it('names a store that is not there', () => fails(['bundle', '--store', 'nostore', '--out', 'usb2'], 7, ['nostore']));
  it('names an image that a layout does not hold', () =>
    fails(['copy', 'oci:store/oci:nope', `${world.zone.host}/x:y`, ...insecure], 7, ['nope']));
});

describe('what is asked for wrongly', () => {
  it('names a rule that is none', () =>
    fails(['snapshot', modelId, '--deny', 'pickle,viruses'], 2, ['viruses', 'unsafe-pickle'], world.online));
});

describe('what cannot be reached', () => {
  // Port 9 of this machine: nothing listens there, and no name has to be looked up.
  it('names an unreachable registry', () =>
    fails(['copy', '127.0.0.1:9/a/b:c', 'oci:x', '--insecure-host', '127.0.0.1:9'], 5, ['127.0.0.1:9', 'refused']));
  it('names an unreachable hub', () =>
    fails(['snapshot', modelId], 5, ['127.0.0.1:9'], { HF_ENDPOINT: 'http://127.0.0.1:9' }));
  it('names an unreachable store', () =>
    fails(['import', 'usb/good', '--models', 's3://models/x'], 5, ['models'], {
      ...world.inside,
      AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9',
    }));
  it('names an unknown host', () =>
    fails(['copy', 'no-such-host.invalid/a/b:c', 'oci:x'], 5, ['no-such-host.invalid']));
  it('says that a registry speaks plain HTTP', () => fails(['copy', reference, 'oci:x'], 5, ['--insecure-host']));
});

describe('what is not allowed', () => {
  it('asks for a login where a registry wants one', () =>
    fails(['copy', 'oci:store/oci', `${world.zone.host}/x:y`, ...insecure], 6, ['docker login', world.zone.host], {
      DOCKER_CONFIG: join(directory, 'nowhere'),
    }));
  it('names a gated repo and the page to open', async () => {
    world.hub.addRepo({ id: 'sie-test/gated', files: { 'config.json': '{}' }, gated: 'manual' });
    await fails(['snapshot', 'sie-test/gated', '--store', 'gated-store'], 6, ['sie-test/gated', 'gated', 'HF_TOKEN'], {
      HF_ENDPOINT: world.hub.url,
    });
    expect((await filesBelow(join(directory, 'gated-store'))).filter((path) => path.includes('/refs/'))).toEqual([]);
  });
  it('says that a token is wrong', () =>
    fails(['snapshot', modelId, '--store', 'token-store'], 6, ['HF_TOKEN'], { ...world.online, HF_TOKEN: 'hf_wrong' }));
  it('says that a secret key is wrong', () =>
    fails(['import', 'usb/good', '--models', 's3://models/x'], 6, ['secret key'], {
      ...world.inside,
      AWS_SECRET_ACCESS_KEY: 'wrong',
    }));
  it('says that there are no credentials', () =>
    fails(['import', 'usb/good', '--models', 's3://models/x'], 6, ['AWS_ACCESS_KEY_ID'], {
      AWS_ENDPOINT_URL_S3: world.s3.url,
      AWS_REGION: 'us-east-1',
      AWS_EC2_METADATA_DISABLED: 'true',
    }));
  it('says that a directory is read-only', async () => {
    if (process.getuid?.() === 0) return;
    await mkdir(join(directory, 'locked'), { mode: 0o555 });
    await fails(['snapshot', modelId, '--store', 'locked/store'], 8, ['locked'], world.online);
  });
});

describe('what is wrong with the command', () => {
  it.each([
    [['snapshot', 'a b'], /a b/],
    [['snapshot', '../up'], /\.\.\/up/],
    [['copy', 'UPPER/case', 'oci:x'], /UPPER|repository/],
    [['copy', 'a/b@sha256:12', 'oci:x'], /digest/],
    [['bundle', '--store', 'store', '--out', 'u', '--volume-size', '12'], /volume size/],
    [['bundle', '--store', 'store', '--out', 'u', '--volume-size', 'big'], /big/],
    [['bundle', '--store', 'store', '--out', 'u', '--name', '../x'], /name/],
    [['bundle', '--store', 'store', '--out', 'u', '--sign', 'keys/sie-mirror.pub.pem'], /private/],
    [['verify', 'usb/good', '--key', 'keys/sie-mirror.key.pem'], /private key/],
    [['import', 'usb/good'], /--models/],
    [['import', 'usb/good', '--models', 'ftp://x'], /ftp/],
    [['smoke', 'gateway', '--model', 'm'], /gateway/],
    [['nonsense'], /nonsense/],
    [['verify'], /bundle/],
    [['plan', 'typo.yaml'], /did you mean `models`/],
  ])('%j', async (args, named) => {
    await writeFile(
      join(directory, 'typo.yaml'),
      'apiVersion: sie-mirror/v1\nkind: MirrorManifest\nmetadata: { name: x }\nmodles: []\n',
    );
    await fails(args, 2, [named]);
  });
  it('without a command shows help and fails', async () => {
    const result = await run([]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('Usage');
  });
});

describe('files where directories should be', () => {
  beforeAll(() => writeFile(join(directory, 'file'), ''));
  it.each([
    [['snapshot', modelId, '--store', 'file']],
    [['bundle', '--store', 'store', '--out', 'file']],
    [['bundle', '--store', 'file', '--out', 'u3']],
    [['keygen', '--out', 'file']],
    [['verify', 'file']],
    [['import', 'usb/good', '--models', 'file://file']],
    [['import', 'usb/good', '--models', 'file:target', '--receipt', 'file/r.json']],
  ])('%j', async ([...args]) => {
    const result = await run(args, { env: world.online });
    expect([7, 8]).toContain(result.code);
    expect(result.stderr).toContain('file');
  });
});

describe('bytes that change on the way', () => {
  it('snapshot refuses them, and nothing stands under a final name', async () => {
    world.hub.cdn.faults = () => ({ kind: 'flip', at: 1000 });
    await fails(['snapshot', modelId, '--store', 'flipped'], 4, ['model.safetensors', 'sha256:'], world.online);
    world.hub.cdn.faults = undefined;
    const files = await filesBelow(join(directory, 'flipped'));
    expect(files.filter((path) => path.includes('/refs/') || path.endsWith('.partial'))).toEqual([]);
    expect(await run(['snapshot', modelId, '--store', 'flipped'], { env: world.online })).toMatchObject({ code: 0 });
  });
  it('copy refuses them and blames the source', async () => {
    world.source.cdn.faults = () => ({ kind: 'flip', at: 100 });
    await fails(['copy', reference, 'oci:flipped-layout', ...insecure], 4, ['sha256:']);
    await fails(['copy', reference, `${world.zone.host}/flipped:v1`, ...insecure], 4, ['sha256:']);
    world.source.cdn.faults = undefined;
    expect(world.zone.tags('flipped')).toEqual([]);
  });
});

describe('a medium that damaged a bundle', () => {
  /** A copy of the good bundle with one thing wrong. */
  async function damaged(name: string, damage: (bundle: string) => Promise<void>): Promise<string> {
    const bundle = join(directory, name);
    await cp(join(directory, 'usb/good'), bundle, { recursive: true });
    await damage(bundle);
    return bundle;
  }
  async function flip(path: string, offset: number): Promise<void> {
    const file = await open(path, 'r+');
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0x40]), 0, 1, offset);
    await file.close();
  }
  /** In the middle of a part of the largest file, the weights. */
  async function inContent(bundle: string): Promise<{ volume: string; offset: number }> {
    const { blobs, volumes } = JSON.parse(await readFile(join(bundle, 'inventory.json'), 'utf8')) as {
      blobs: { size: number; parts: { volume: number; offset: number; size: number }[] }[];
      volumes: { name: string }[];
    };
    const [largest] = [...blobs].sort((a, b) => b.size - a.size);
    const [part] = largest?.parts ?? [];
    return {
      volume: volumes[(part?.volume ?? 0) - 1]?.name ?? '',
      offset: (part?.offset ?? 0) + Math.floor((part?.size ?? 0) / 2),
    };
  }
  const flipContent = async (bundle: string): Promise<void> => {
    const { volume, offset } = await inContent(bundle);
    await flip(join(bundle, volume), offset);
  };
  const key = ['--key', 'keys/sie-mirror.pub.pem'];
  const target = (): string[] => ['--models', 'file:dir-target', '--images', `${world.zone.host}/damaged`, ...insecure];

  it('names the volume with a flipped byte, and import brings in nothing wrong', async () => {
    const bundle = await damaged('flip', flipContent);
    const { volume } = await inContent(bundle);
    await fails(['verify', bundle, ...key], 4, [`copy \`${volume}\` again`, 'cannot be used']);
    await fails(['import', bundle, ...key, ...target()], 4, ['sha256:']);
    expect(
      world.zone.repositories().filter((name) => name.startsWith('damaged') && world.zone.tags(name).includes(imageTag))
        .length,
    ).toBeLessThanOrEqual(1);
    expect(
      (await filesBelow(join(directory, 'dir-target'))).filter(
        (path) => path.endsWith('.partial') || path.includes('/refs/'),
      ),
    ).toEqual([]);
  });
  it('names a flipped byte in a header, in padding and at the end', async () => {
    for (const offset of [10, 100]) {
      const bundle = await damaged(`flip-header-${offset}`, (path) => flip(join(path, 'good.0002.tar'), offset));
      await fails(['verify', bundle, ...key], 4, ['good.0002.tar']);
    }
    const end = await damaged('flip-end', async (path) =>
      flip(join(path, 'good.0002.tar'), (await readFile(join(path, 'good.0002.tar'))).length - 5),
    );
    await fails(['verify', end, ...key], 4, ['good.0002.tar']);
  });
  it('names a truncated volume', async () => {
    const bundle = await damaged('short', (path) => truncate(join(path, 'good.0003.tar'), 5000));
    await fails(['verify', bundle, ...key], 4, ['good.0003.tar', '5000']);
    await fails(['import', bundle, ...key, ...target()], 4, ['good.0003.tar']);
  });
  it('names a missing volume', async () => {
    const bundle = await damaged('missing', (path) => rm(join(path, 'good.0001.tar')));
    await fails(['verify', bundle, ...key], 4, ['good.0001.tar', 'missing']);
    // What another import has brought already would not be missed.
    const fresh = ['--models', 'file:fresh-target', '--images', `${world.zone.host}/fresh`, ...insecure];
    await fails(['import', bundle, ...key, ...fresh], 3, ['good.0001.tar']);
  });
  it('names an extra file, and appended bytes', async () => {
    const extra = await damaged('extra', (path) => writeFile(join(path, 'readme.exe'), ''));
    await fails(['verify', extra, ...key], 4, ['readme.exe']);
    const longer = await damaged('longer', async (path) => writeFile(join(path, 'good.0003.tar'), 'x', { flag: 'a' }));
    await fails(['verify', longer, ...key], 4, ['good.0003.tar']);
  });
  it('names each of several faults in one run', async () => {
    const bundle = await damaged('several', async (path) => {
      await rm(join(path, 'good.0001.tar'));
      await flipContent(path);
      await flip(join(path, 'VERIFY.md'), 3);
    });
    await fails(
      ['verify', bundle, ...key],
      4,
      ['good.0001.tar', 'CORRUPT  `hub|CORRUPT  `oci', 'VERIFY.md'].map((text) => new RegExp(text)),
    );
  });
  it('refuses a bundle without SHA256SUMS', async () => {
    const bundle = await damaged('nosums', (path) => rm(join(path, 'SHA256SUMS')));
    await fails(['verify', bundle], 4, ['SHA256SUMS']);
    await fails(['import', bundle, ...target()], 4, ['SHA256SUMS']);
  });
  it('refuses changed sums, a missing signature and another key', async () => {
    const changed = await damaged('sums', (path) => flip(join(path, 'SHA256SUMS'), 2));
    await fails(['verify', changed, ...key], 4, ['SHA256SUMS.sig']);
    const unsigned = await damaged('unsigned', async (path) => {
      await rm(join(path, 'SHA256SUMS.sig'));
      await rm(join(path, 'SHA256SUMS.sigstore.json'));
    });
    await fails(['verify', unsigned, ...key], 4, ['not signed']);
    await fails(['verify', 'usb/good', '--key', 'other-keys/sie-mirror.pub.pem'], 4, ['SHA256SUMS.sig', 'fingerprint']);
  });
  it('names a damaged inventory and still looks at every file', async () => {
    const bundle = await damaged('inventory', async (path) => {
      await flipContent(path);
      await flip(join(path, 'inventory.json'), 50);
    });
    await fails(['verify', bundle, ...key], 4, ['inventory.json', /good\.00\d\d\.tar` has digest/]);
  });
  it('says loudly that a signature was not checked', async () => {
    const result = await run(['verify', 'usb/good']);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('NOT CHECKED');
    expect(result.stdout).toContain('NOT CHECKED');
  });
});

describe('a store that rotted', () => {
  it('bundle names the damaged blob and makes no bundle', async () => {
    await cp(join(directory, 'store'), join(directory, 'rotten'), { recursive: true, verbatimSymlinks: true });
    const blob =
      (await filesBelow(join(directory, 'rotten/hub'))).find((path) => /blobs\/[0-9a-f]{64}$/.test(path)) ?? '';
    const file = await open(join(directory, 'rotten/hub', blob), 'r+');
    await file.write(Buffer.from([1, 2, 3]), 0, 3, 2000);
    await file.close();
    await fails(['bundle', '--store', 'rotten', '--out', 'usb-rotten'], 4, [blob]);
    expect(await filesBelow(join(directory, 'usb-rotten')).catch(() => [])).not.toContain(
      'sie-mirror-bundle/SHA256SUMS',
    );
  });
  it('snapshot fetches again what was emptied', async () => {
    await cp(join(directory, 'store'), join(directory, 'emptied'), { recursive: true, verbatimSymlinks: true });
    const blob =
      (await filesBelow(join(directory, 'emptied/hub'))).find((path) => /blobs\/[0-9a-f]{64}$/.test(path)) ?? '';
    await truncate(join(directory, 'emptied/hub', blob), 0);
    expect(await run(['snapshot', modelId, '--store', 'emptied'], { env: world.online })).toMatchObject({ code: 0 });
    expect(await readFile(join(directory, 'emptied/hub', blob))).toEqual(
      await readFile(join(directory, 'store/hub', blob)),
    );
  });
  it('bundle refuses to overwrite a bundle or to mix with other files', async () => {
    await fails(['bundle', '--store', 'store', '--out', 'usb', '--name', 'good'], 8, ['finished bundle']);
    await mkdir(join(directory, 'usb/mixed'), { recursive: true });
    await writeFile(join(directory, 'usb/mixed/photo.jpg'), '');
    await fails(['bundle', '--store', 'store', '--out', 'usb', '--name', 'mixed'], 8, ['photo.jpg']);
  });
});

it('two bundles into one directory: one is made, the other is refused', async () => {
  const make = (): Promise<CliResult> =>
    run(['bundle', '--store', 'store', '--out', 'usb-both', '--volume-size', '64KiB']);
  const results = await Promise.all([make(), make()]);
  expect(results.map(({ code }) => code).sort((a, b) => a - b)).toEqual([0, 8]);
  expect(await run(['verify', 'usb-both/sie-mirror-bundle'])).toMatchObject({ code: 0 });
  expect((await filesBelow(join(directory, 'usb-both'))).filter((path) => /lock|partial/.test(path))).toEqual([]);
});

/** A limit on the size of files: the disk says no in the middle of a write, as a full one does. */
async function limited(
  args: string[],
  kibibytes: number,
  env: Record<string, string>,
): Promise<{ code: number; stderr: string }> {
  const command = `ulimit -f ${kibibytes}; exec "$0" "$@"`;
  const child = spawn('bash', ['-c', command, process.execPath, binary, ...args], {
    cwd: directory,
    env: { PATH: process.env['PATH'] ?? '', HOME: directory, ...env },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.resume();
  return new Promise((done) => child.on('close', (code) => done({ code: code ?? 1, stderr })));
}

describe('a disk that takes no more', () => {
  it.each([
    ['snapshot', (): string[] => ['snapshot', modelId, '--store', 'full-store']],
    ['copy', (): string[] => ['copy', reference, 'oci:full-layout', ...insecure]],
    ['bundle', (): string[] => ['bundle', '--store', 'store', '--out', 'full-usb']],
    ['import', (): string[] => ['import', 'usb/good', '--models', 'file:full-target']],
  ])('%s says so, and goes on when there is room', async (_, args) => {
    const result = await limited(args(), 60, world.online);
    expect(result).toMatchObject({ code: 8 });
    const after = await run(args(), { env: world.online });
    expect(after).toMatchObject({ code: 0 });
  });
});

describe('keys', () => {
  it('are never overwritten, and the private one is for its owner only', async () => {
    await fails(['keygen', '--out', 'keys'], 8, ['never overwritten']);
    const { mode } = await (await open(join(directory, 'keys/sie-mirror.key.pem'))).stat();
    expect(mode & 0o777).toBe(0o600);
  });
});
