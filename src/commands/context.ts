import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import type { Reporter } from '../core/events.ts';
import type { ContentSource } from '../core/ports.ts';
import { toolName } from '../core/version.ts';
import { HeldLocks } from '../fs/held-locks.ts';
import type { LockOwner } from '../fs/lock.ts';
import { HttpClient } from '../http/client.ts';
import { findHostTls } from '../http/host-certificates.ts';
import { proxyRules } from '../http/proxy.ts';
import { defaultRetry, oncePerPause, type RetryOptions } from '../http/retry.ts';
import { type PemFile, readAuthority } from '../http/tls.ts';
import { defaultEndpoint, HubClient } from '../hub/access/client.ts';
import { tokenSource } from '../hub/access/token.ts';
import type { PassingToken } from '../hub/access/trusted-publisher.ts';
import type { HostsOptions } from '../oci/access/hosts.ts';
import type { Registry } from '../oci/registry/registry.ts';
import { hasPassword } from './places/address.ts';
import type { Registries } from './places/registries.ts';

/** What every command is told of the world outside. */
export interface Outside {
  env: Record<string, string | undefined>;
  cwd: string;
  home: string;
  /** Where this machine keeps its settings: /etc. */
  etc: string;
  /** Our own one-file form, to be put into bundles; undefined when it has not been built. */
  toolFile: string | undefined;
  report: Reporter;
  signal: AbortSignal;
  process: LockOwner;
  /** Version of the Node.js that runs this: `22.21.1`. */
  nodeVersion: string;
}

/** Flags that every command takes. */
export interface CommonOptions {
  concurrency?: number | undefined;
  /** How often something that may pass is tried again. */
  retries?: number | undefined;
  /** Path of a PEM file. */
  ca?: string | undefined;
  insecureHosts?: readonly string[] | undefined;
  /** Directory with hosts.toml for each registry, as containerd has it. */
  hostsDir?: string | undefined;
}

/** The composition root: makes the clients that a command needs, each once and with the same settings. */
export interface Context {
  readonly env: Outside['env'];
  readonly report: Reporter;
  readonly signal: AbortSignal;
  readonly http: HttpClient;
  readonly retry: RetryOptions;
  /** Transfers at once. */
  readonly slots: number;
  readonly threads: number;
  readonly ca: string | undefined;
  readonly toolFile: string | undefined;
  /** Who this process is to others that write to the same place. */
  readonly owner: LockOwner;
  readonly nodeVersion: string;
  path(path: string): string;
  hub(): HubClient;
  /** The registry itself. @throws E_USAGE */
  registry(host: string, side: 'source' | 'target'): Promise<Registry>;
  /** A repository to read from, by way of the mirrors of its registry. @throws E_USAGE */
  source(registry: string, repository: string): Promise<ContentSource>;
  /** Keeps other processes out of a directory until the command ends. @throws E_REFUSED */
  lock(directory: string, lockFile?: string): Promise<void>;
  /** Keeps out who would write to a directory until the command ends; others may read it. @throws E_REFUSED */
  lockForReading(directory: string): Promise<void>;
  close(): Promise<void>;
}

/** More hash faster than any medium reads, and each costs memory. */
const maxThreads = 8;

/** @throws E_USAGE, also for a `--ca` that cannot be read */
export async function createContext(outside: Outside, options: CommonOptions): Promise<Context> {
  const { env, report, signal } = outside;
  // Every transfer listens; Node.js would take many of them for a leak.
  setMaxListeners(0, signal);
  for (const host of options.insecureHosts ?? []) checkInsecureHost(host);
  const path = (given: string): string => resolve(outside.cwd, given);
  const ca = options.ca === undefined ? [] : [await readAuthority(path(options.ca))];
  const extra = env['NODE_EXTRA_CA_CERTS'];
  // Naming authorities of our own switches off Node's reading of this variable.
  const trusted = async (): Promise<PemFile[]> => [...ca, ...(extra ? [await readAuthority(path(extra))] : [])];
  const pem = ca.length > 0 ? (await trusted()).map(({ text }) => text).join('\n') : undefined;
  const http = new HttpClient({
    userAgent: toolName,
    ca: pem,
    insecureHosts: options.insecureHosts ?? [],
    signal,
    tlsOf: findHostTls(certificateDirectories(outside), trusted),
    proxyOf: proxyRules(env),
  });
  const retry = retryOptions(options, outside);
  const hosts: HostsOptions = {
    root: options.hostsDir === undefined ? join(outside.etc, 'containerd/certs.d') : path(options.hostsDir),
    named: options.hostsDir !== undefined,
    trusted,
  };
  let registries: Promise<Registries> | undefined;
  const opened = (): Promise<Registries> => (registries ??= openRegistries(outside, http, hosts));
  let hub: HubClient | undefined;
  const locks = new HeldLocks(outside.process);
  return {
    env,
    report,
    signal,
    http,
    retry,
    slots: options.concurrency ?? 4,
    threads: Math.min(availableParallelism(), maxThreads),
    ca: pem,
    toolFile: outside.toolFile,
    owner: outside.process,
    nodeVersion: outside.nodeVersion,
    path,
    hub: () => (hub ??= openHub(outside, http, retry)),
    registry: async (host, side) => (await opened()).registry(host, side),
    source: async (registry, repository) => (await opened()).source(registry, repository),
    lock: async (directory, lockFile) => locks.take(directory, lockFile),
    lockForReading: async (directory) => locks.takeForReading(directory),
    close: async () => {
      await locks.giveBack();
      await http.close();
    },
  };
}

/** @throws E_USAGE */
function checkInsecureHost(host: string): void {
  if (host.includes('/'))
    throw new MirrorError('E_USAGE', `\`--insecure-host ${host}\`: a host was wanted`, {
      hint: `write it without a scheme: \`--insecure-host ${host.replace(/^\w+:\/\//, '').replace(/\/.*$/, '')}\``,
    });
}

function retryOptions({ retries }: CommonOptions, { report, signal }: Outside): RetryOptions {
  return {
    ...defaultRetry,
    ...(retries === undefined ? {} : { attempts: retries + 1 }),
    signal,
    onRetry: oncePerPause((error, pauseMs) =>
      report({ type: 'note', text: `${error.message}; trying again in ${Math.ceil(pauseMs / 1000)} s` }),
    ),
  };
}

/** @throws E_USAGE */
function openHub({ env, home, report }: Outside, http: HttpClient, retry: RetryOptions): HubClient {
  const endpoint = hubEndpoint(env);
  const exchange = async (resource: string): Promise<PassingToken> =>
    (await import('../hub/access/trusted-publisher.ts')).exchangeToken(resource, { env, endpoint, http, retry });
  const onWait = (ms: number): void =>
    report({ type: 'note', text: `the hub's rate limit is used up; going on in ${Math.ceil(ms / 1000)} s` });
  return new HubClient(http, { endpoint, token: tokenSource(env, home, exchange), retry, onWait });
}

/** Commands that speak to no registry do not wait for it to load. */
async function openRegistries(
  { env, home, report }: Outside,
  http: HttpClient,
  hosts: HostsOptions,
): Promise<Registries> {
  const { findCredentials } = await import('../oci/access/credential-sources.ts');
  const { Registries } = await import('./places/registries.ts');
  return new Registries({ ...hosts, http, credentials: findCredentials(env, home), report });
}

/** Where docker, podman and skopeo keep certificates for a host; the user's own come first. */
function certificateDirectories({ home, etc }: Outside): string[] {
  return [
    join(home, '.config/containers/certs.d'),
    join(home, '.docker/certs.d'),
    join(home, '.config/docker/certs.d'),
    join(etc, 'containers/certs.d'),
    join(etc, 'docker/certs.d'),
  ];
}

function hubEndpoint(env: Outside['env']): string {
  const endpoint = env['HF_ENDPOINT']?.replace(/\/+$/, '') || defaultEndpoint;
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint))
    throw new MirrorError('E_USAGE', 'HF_ENDPOINT is no address that begins with https://');
  if (hasPassword(endpoint))
    throw new MirrorError('E_USAGE', 'HF_ENDPOINT holds a password', { hint: 'take it out, and set HF_TOKEN' });
  return endpoint;
}
