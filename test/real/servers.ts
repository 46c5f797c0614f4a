import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installedProgram } from './recipe.ts';

/** A real server that answers on a loopback port. */
export interface RealServer {
  /** `127.0.0.1:PORT`. */
  host: string;
  url: string;
  /** What the server has printed so far. */
  logs(): string;
  /** Ends the process and waits for it; may be called again. */
  stop(): Promise<void>;
}

/** The only user of a registry; the password must be {@link REGISTRY_PASSWORD}. */
interface RegistryUser {
  user: string;
  password: string;
}

interface RegistryOptions {
  /** Lets in this user only. */
  auth?: RegistryUser;
}

interface DistributionOptions extends RegistryOptions {
  /** Paths of PEM files; clients have to show a certificate of `clientAuthority`. A request by plain HTTP gets an answer 400. */
  tls?: { certificate: string; key: string; clientAuthority: string };
  /** Patterns of the addresses that foreign layers may name; none by default. */
  allowedUrls?: string[];
}

interface OlaregOptions extends RegistryOptions {
  /** Asks for tokens from its own token endpoint instead of basic credentials; needs `auth`. */
  bearer?: boolean;
}

interface GatewayOptions {
  accessKeyId: string;
  secretAccessKey: string;
  /** Buckets that exist from the start. */
  buckets: string[];
}

/** A program and how it becomes a server. */
export interface Launch {
  program: string;
  args: (port: number) => Promise<string[]> | string[];
  env?: Record<string, string>;
  /** A path that answers below 500 once the server is ready; by HTTPS whatever its certificate. */
  probe: string;
  isHttps?: boolean;
  log: string;
}

const READY_MS = 20_000;
const GRACE_MS = 3000;
const ATTEMPTS = 3;

/** The one password whose bcrypt hash is known here. */
export const REGISTRY_PASSWORD = 'correct-horse-battery';

// perl -e 'print crypt("correct-horse-battery", q($2b$05$sieMirrorTestFixedSal.))', with Debian's libcrypt.
const PASSWORD_HASH = '$2b$05$sieMirrorTestFixedSal.jYqVGW8acieW9wGw5BY5FBPsyCawCZW';

const children = new Set<ChildProcess>();

// A run that throws or calls process.exit must leave no server behind.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** CNCF distribution 3 on fresh storage below `directory`, deletion allowed; it has no referrers API. */
export function startDistribution(directory: string, options: DistributionOptions = {}): Promise<RealServer> {
  return launchDistribution('registry', directory, options);
}

/** Debian's distribution 2.8, the old server that many sites still have; otherwise as {@link startDistribution}. */
export function startOldDistribution(directory: string, options: DistributionOptions = {}): Promise<RealServer> {
  return launchDistribution('docker-registry', directory, options);
}

async function launchDistribution(
  program: 'registry' | 'docker-registry',
  directory: string,
  options: DistributionOptions,
): Promise<RealServer> {
  const config = join(directory, 'distribution.json');
  const users = options.auth && (await writeIn(directory, 'htpasswd', htpasswd(options.auth)));
  return launch({
    program,
    probe: '/v2/',
    log: join(directory, 'distribution.log'),
    env: { OTEL_TRACES_EXPORTER: 'none' },
    args: async (port) => {
      await mkdir(directory, { recursive: true });
      // JSON is YAML, so no path needs quoting by hand.
      await writeFile(
        config,
        JSON.stringify(distributionConfig(join(directory, 'distribution'), port, users, options)),
      );
      return ['serve', config];
    },
  });
}

/** The registry that crane brings along, blobs below `directory`: it checks little, and refuses ranges without an end. */
export async function startCraneRegistry(directory: string): Promise<RealServer> {
  const storage = join(directory, 'crane');
  await mkdir(storage, { recursive: true });
  return launch({
    program: 'crane',
    probe: '/v2/',
    log: join(directory, 'crane.log'),
    args: (port) => ['registry', 'serve', '--address', `127.0.0.1:${port}`, '--disk', storage],
  });
}

/** olareg with its storage below `directory`, deletion allowed; it has the referrers API. */
export async function startOlareg(directory: string, options: OlaregOptions = {}): Promise<RealServer> {
  const users = options.auth && (await writeIn(directory, 'olareg-auth.json', olaregAuth(options.auth)));
  const flag = options.bearer ? '--auth-token-opaque' : '--auth-basic';
  const storage = join(directory, 'olareg');
  const fixed = ['--dir', storage, '--api-delete', '--gc-frequency', '-1s', ...(users ? [flag, users] : [])];
  await mkdir(storage, { recursive: true });
  return launch({
    program: 'olareg',
    probe: '/v2/',
    log: join(directory, 'olareg.log'),
    args: (port) => {
      // Without it the challenge names its token endpoint by a bare path, which clients refuse.
      const address = ['--addr', '127.0.0.1', '--port', String(port), '--external-url', `http://127.0.0.1:${port}`];
      return ['serve', ...address, '-v', 'trace', ...fixed];
    },
  });
}

/** versitygw over `directory`/s3, where each bucket is a directory and each object a file; path-style, region us-east-1. */
export async function startVersitygw(directory: string, options: GatewayOptions): Promise<RealServer> {
  const storage = join(directory, 's3');
  await mkdir(storage, { recursive: true });
  for (const bucket of options.buckets) await mkdir(join(storage, bucket), { recursive: true });
  return launch({
    program: 'versitygw',
    probe: '/health',
    log: join(directory, 'versitygw.log'),
    env: { ROOT_ACCESS_KEY_ID: options.accessKeyId, ROOT_SECRET_ACCESS_KEY: options.secretAccessKey },
    args: (port) => ['-q', '--health', '/health', '--port', `127.0.0.1:${port}`, 'posix', storage],
  });
}

/** containerd of Debian with nothing but its store of content; `ctr` speaks to the socket `containerd.sock` below `directory`. */
export async function startContainerd(directory: string): Promise<RealServer> {
  const plugins = ['grpc.v1.cri', ...['aufs', 'btrfs', 'devmapper', 'zfs'].map((name) => `snapshotter.v1.${name}`)];
  return launch({
    program: 'containerd',
    probe: '/v1/metrics',
    log: join(directory, 'containerd.log'),
    args: async (port) => {
      const config = [
        'version = 2',
        `root = ${JSON.stringify(join(directory, 'root'))}`,
        `state = ${JSON.stringify(join(directory, 'state'))}`,
        `disabled_plugins = ${JSON.stringify(plugins.map((name) => `io.containerd.${name}`))}`,
        '[grpc]',
        `address = ${JSON.stringify(join(directory, 'containerd.sock'))}`,
        '[metrics]',
        `address = "127.0.0.1:${port}"`,
      ];
      return ['--config', await writeIn(directory, 'containerd.toml', `${config.join('\n')}\n`)];
    },
  });
}

/** fake-gcs-server in memory, with this bucket. */
export async function startFakeGcs(directory: string, bucket: string): Promise<RealServer> {
  const server = await launch({
    program: 'fake-gcs-server',
    probe: '/storage/v1/b',
    log: join(directory, 'fake-gcs-server.log'),
    args: (port) => {
      const url = `http://127.0.0.1:${port}`;
      const address = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-external-url', url];
      return [...address, '-public-host', `127.0.0.1:${port}`, '-backend', 'memory', '-log-level', 'error'];
    },
  });
  const body = JSON.stringify({ name: bucket });
  const made = await fetch(`${server.url}/storage/v1/b?project=test`, { method: 'POST', body });
  if (!made.ok) throw new Error(`fake-gcs-server made no bucket: ${made.status} ${await made.text()}`);
  return server;
}

function distributionConfig(
  storage: string,
  port: number,
  users: string | undefined,
  { tls, allowedUrls: allow }: DistributionOptions,
): Record<string, unknown> {
  const http = tls && { certificate: tls.certificate, key: tls.key, clientcas: [tls.clientAuthority] };
  return {
    version: '0.1',
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, ...(http ? { tls: http } : {}) },
    ...(users ? { auth: { htpasswd: { realm: 'test', path: users } } } : {}),
    ...(allow ? { validation: { manifests: { urls: { allow } } } } : {}),
  };
}

function htpasswd(auth: RegistryUser): string {
  return `${auth.user}:${hashOf(auth)}\n`;
}

function olaregAuth(auth: RegistryUser): string {
  const access = ['read', 'write', 'delete'];
  return JSON.stringify({
    users: { [auth.user]: { cred: hashOf(auth) } },
    acls: [{ repo: '*', access, members: [auth.user] }],
  });
}

function hashOf(auth: RegistryUser): string {
  if (auth.password === REGISTRY_PASSWORD) return PASSWORD_HASH;
  throw new Error('only REGISTRY_PASSWORD has a known hash');
}

async function writeIn(directory: string, name: string, text: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

/** Starts a program on a free port, and waits until it answers. */
export async function launch(plan: Launch): Promise<RealServer> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = start(plan, await plan.args(port));
    const scheme = plan.isHttps === true ? 'https' : 'http';
    if (await isReady(child, `${scheme}://127.0.0.1:${port}${plan.probe}`))
      return serverOf(child, port, plan.log, scheme);
    await end(child);
    const logs = readFileSync(plan.log, 'utf8');
    // Another process may take the free port before the server does.
    if (attempt >= ATTEMPTS || !/address already in use/i.test(logs)) {
      throw new Error(`${plan.program} did not get ready on port ${port}:\n${logs}`);
    }
  }
}

function start(plan: Launch, args: string[]): ChildProcess {
  const log = openSync(plan.log, 'w');
  // The servers read settings from their environment: only what is named here may reach them.
  const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...plan.env };
  const child = spawn(installedProgram(plan.program), args, { env, stdio: ['ignore', log, log] });
  closeSync(log);
  // A program that cannot be started has no pid, which isReady sees.
  child.on('error', () => {});
  child.unref();
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

function serverOf(child: ChildProcess, port: number, log: string, scheme: string): RealServer {
  const host = `127.0.0.1:${port}`;
  return { host, url: `${scheme}://${host}`, logs: () => readFileSync(log, 'utf8'), stop: () => end(child) };
}

async function isReady(child: ChildProcess, url: string): Promise<boolean> {
  const deadline = Date.now() + READY_MS;
  while (isRunning(child) && Date.now() < deadline) {
    if ((await statusOf(url)) < 500) return isRunning(child);
    await sleep(50);
  }
  return false;
}

/** 599 while nobody answers. */
function statusOf(url: string): Promise<number> {
  return new Promise((resolve) => {
    const seen = (response: IncomingMessage): void => {
      response.resume();
      resolve(response.statusCode ?? 599);
    };
    const options = { agent: false, timeout: 2000 };
    const request = url.startsWith('https:')
      ? httpsGet(url, { ...options, rejectUnauthorized: false }, seen)
      : httpGet(url, options, seen);
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(599));
  });
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  // An unreferenced child does not keep the process alive while its end is awaited.
  child.ref();
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await exited;
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
