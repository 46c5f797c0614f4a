import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { binary } from '../support/cli.ts';
import type { Tools } from './tools.ts';

/** What a tool is asked to copy. */
export interface CopyRequest {
  /** `HOST/REPOSITORY:TAG`, `HOST/REPOSITORY@DIGEST` or both. */
  source: string;
  /** `HOST/REPOSITORY:TAG`, or the directory of an image layout. */
  target: string | { layout: string; name: string };
  /** Signatures, SBOMs and so on come along, where the tool can do that. */
  referrers?: boolean;
  /** Only these platforms, where the tool can do that. */
  platforms?: readonly string[];
}

/** A program that copies images: ours and its peers. */
export interface CopyTool {
  name: string;
  version: string;
  program: string;
  /** Undefined where the tool has no way to say that. */
  argumentsFor: (request: CopyRequest) => string[] | undefined;
}

/** An account at a registry. */
export interface Account {
  host: string;
  user: string;
  password: string;
}

/** The tools of the comparison, ours first, each with the flags that help it most. */
export function copyTools(tools: Tools): [ours: CopyTool, ...peers: CopyTool[]] {
  const versionOf = (name: string): string =>
    tools.rows.find((row) => row.name === name)?.version.replace(/^v/, '') ?? '?';
  return [
    { name: 'sie-mirror', version: 'this', program: process.execPath, argumentsFor: oursFor },
    { name: 'crane', version: versionOf('crane'), program: tools.crane, argumentsFor: craneFor },
    { name: 'oras', version: versionOf('oras'), program: tools.oras, argumentsFor: orasFor },
    { name: 'regctl', version: versionOf('regctl'), program: tools.regctl, argumentsFor: regctlFor },
    { name: 'skopeo', version: versionOf('skopeo'), program: tools.skopeo, argumentsFor: skopeoFor },
  ];
}

/** A home directory with accounts in docker's config.json, and an environment in which every tool uses it. */
export async function homeEnvironment(
  home: string,
  accounts: readonly Account[] = [],
): Promise<Record<string, string>> {
  const auths = accounts.map(({ host, user, password }) => {
    return [host, { auth: Buffer.from(`${user}:${password}`).toString('base64') }] as const;
  });
  const config = join(home, '.docker/config.json');
  await mkdir(join(home, '.docker'), { recursive: true });
  await writeFile(config, JSON.stringify({ auths: Object.fromEntries(auths) }));
  return bareEnvironment(home);
}

/** The environment of {@link homeEnvironment} without its accounts. */
export function bareEnvironment(home: string): Record<string, string> {
  return {
    HOME: home,
    DOCKER_CONFIG: join(home, '.docker'),
    XDG_RUNTIME_DIR: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    REGCTL_CONFIG: join(home, '.regctl/config.json'),
    COSIGN_PASSWORD: '',
    NO_COLOR: '1',
    CI: 'true',
  };
}

/** Lets regctl speak plain HTTP to a registry; it has no flag that does so for all. */
export function regctlHosts(references: readonly string[]): string[] {
  return references.flatMap((reference) => ['--host', `reg=${hostOf(reference)},tls=disabled`]);
}

function hostOf(reference: string): string {
  return reference.slice(0, reference.indexOf('/'));
}

function oursFor({ source, target, referrers = false, platforms = [] }: CopyRequest): string[] {
  const to = typeof target === 'string' ? target : `oci:${target.layout}:${target.name}`;
  const remote = typeof target === 'string' ? [source, target] : [source];
  return [
    binary,
    'copy',
    source,
    to,
    ...remote.flatMap((reference) => ['--insecure-host', hostOf(reference)]),
    ...(referrers ? [] : ['--no-referrers']),
    ...(platforms.length > 0 ? ['--platform', platforms.join(',')] : []),
  ];
}

function craneFor({ source, target, platforms = [] }: CopyRequest): string[] | undefined {
  if (platforms.length > 1) return undefined;
  const chosen = platforms.flatMap((platform) => ['--platform', platform]);
  if (typeof target === 'string') return ['copy', '--insecure', ...chosen, source, target];
  return ['pull', '--insecure', '--format', 'oci', ...chosen, source, target.layout];
}

function orasFor({ source, target, referrers = false, platforms = [] }: CopyRequest): string[] | undefined {
  if (platforms.length > 1) return undefined;
  const flags = [...(referrers ? ['-r'] : []), ...platforms.flatMap((platform) => ['--platform', platform])];
  const plain = ['cp', '--no-tty', '--from-plain-http', ...flags];
  if (typeof target === 'string') return [...plain, '--to-plain-http', source, target];
  return [...plain, '--to-oci-layout', source, `${target.layout}:${target.name}`];
}

function regctlFor({ source, target, referrers = false, platforms = [] }: CopyRequest): string[] | undefined {
  if (platforms.length > 1) return undefined;
  const to = typeof target === 'string' ? target : `ocidir://${target.layout}:${target.name}`;
  const hosts = regctlHosts(typeof target === 'string' ? [source, target] : [source]);
  const chosen = platforms.flatMap((platform) => ['--platform', platform]);
  return ['image', 'copy', ...hosts, ...(referrers ? ['--referrers', '--digest-tags'] : []), ...chosen, source, to];
}

function skopeoFor({ source, target, platforms = [] }: CopyRequest): string[] | undefined {
  if (platforms.length > 1) return undefined;
  const [platform] = platforms;
  const [os = '', architecture = ''] = platform?.split('/') ?? [];
  const to = typeof target === 'string' ? `docker://${target}` : `oci:${target.layout}:${target.name}`;
  return [
    '--insecure-policy',
    ...(platform === undefined ? [] : ['--override-os', os, '--override-arch', architecture]),
    'copy',
    ...(platform === undefined ? ['--all'] : []),
    '--preserve-digests',
    '--retry-times',
    '3',
    '--src-tls-verify=false',
    ...(typeof target === 'string' ? ['--dest-tls-verify=false'] : []),
    `docker://${source}`,
    to,
  ];
}
