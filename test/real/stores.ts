import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from '../support/wait.ts';
import { runCommand, tryCommand } from './command.ts';
import { installedProgram } from './recipe.ts';
import { launch, type RealServer } from './servers.ts';

/** Who may read and write, in every store here. Garage wants keys of this form. */
export const storeKeys = {
  accessKeyId: 'GK0123456789abcdef01234567',
  secretAccessKey: '0123456789abcdef'.repeat(4),
};

/** moto's server in memory, with this bucket: a store in Python, which believes every signature. */
export async function startMoto(directory: string, bucket: string): Promise<RealServer> {
  const server = await launch({
    program: 'moto_server',
    probe: '/moto-api/',
    log: join(directory, 'moto.log'),
    args: (port) => ['-H', '127.0.0.1', '-p', String(port)],
  });
  const made = await fetch(`${server.url}/${bucket}`, { method: 'PUT' });
  if (!made.ok) throw new Error(`moto made no bucket: ${made.status} ${await made.text()}`);
  return server;
}

/** rclone as a store over `directory`/rclone, where each bucket is a directory. */
export async function startRclone(directory: string, bucket: string): Promise<RealServer> {
  const storage = join(directory, 'rclone');
  await mkdir(join(storage, bucket), { recursive: true });
  const keys = `${storeKeys.accessKeyId},${storeKeys.secretAccessKey}`;
  return launch({
    program: 'rclone',
    probe: '/',
    log: join(directory, 'rclone.log'),
    args: (port) => {
      const address = ['--addr', `127.0.0.1:${port}`, '--auth-key', keys];
      return ['serve', 's3', '--config', '/dev/null', ...address, storage];
    },
  });
}

/** One node of Garage with its storage below `directory`, and this bucket. */
export async function startGarage(directory: string, bucket: string): Promise<RealServer> {
  const config = join(directory, 'garage.toml');
  const server = await launch({
    program: 'garage',
    probe: '/',
    log: join(directory, 'garage.log'),
    args: async (port) => {
      await writeFile(config, garageConfig(directory, port));
      return ['-c', config, 'server'];
    },
  });
  const garage = (...args: string[]): Promise<string> =>
    runCommand(installedProgram('garage'), ['-c', config, ...args]);
  const [node = ''] = (await garage('node', 'id', '-q')).trim().split('@');
  // It answers clients before it hears its own command.
  await waitFor('garage hears its command', async () => {
    const { code } = await tryCommand(installedProgram('garage'), ['-c', config, 'status']);
    return code === 0;
  });
  await garage('layout', 'assign', '-z', 'zone', '-c', '10G', node);
  await garage('layout', 'apply', '--version', '1');
  await garage('key', 'import', '--yes', '-n', 'test', storeKeys.accessKeyId, storeKeys.secretAccessKey);
  await garage('bucket', 'create', bucket);
  await garage('bucket', 'allow', '--read', '--write', '--owner', bucket, '--key', 'test');
  return server;
}

/** Its nodes speak to each other on the port above that of the store. */
function garageConfig(directory: string, port: number): string {
  const lines = [
    `metadata_dir = ${JSON.stringify(join(directory, 'meta'))}`,
    `data_dir = ${JSON.stringify(join(directory, 'data'))}`,
    'db_engine = "sqlite"',
    'replication_factor = 1',
    `rpc_bind_addr = "127.0.0.1:${port + 1}"`,
    `rpc_public_addr = "127.0.0.1:${port + 1}"`,
    `rpc_secret = "${'1'.repeat(64)}"`,
    '[s3_api]',
    's3_region = "us-east-1"',
    `api_bind_addr = "127.0.0.1:${port}"`,
  ];
  return `${lines.join('\n')}\n`;
}
