import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { parseJson } from '../core/validate.ts';
import { dockerHub } from './reference.ts';

/** What proves to a registry who we are. */
export type Credential = { kind: 'basic'; user: string; password: string } | { kind: 'identity'; token: string };

/** Finds the credential for a registry; undefined means anonymous. */
export type CredentialFinder = (registry: string) => Promise<Credential | undefined>;

interface DockerConfig {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

/**
 * Credentials from docker's config.json: a helper for the host, then `auths`, then the common helper.
 * https://docs.docker.com/reference/cli/docker/login/#credential-stores
 * @param directory the one that holds config.json
 */
export function dockerCredentials(directory: string): CredentialFinder {
  let config: Promise<DockerConfig> | undefined;
  return async (registry) => {
    config ??= readConfig(join(directory, 'config.json'));
    const { credHelpers, auths, credsStore } = await config;
    const keys = keysOf(registry);
    const helper = keys.map((key) => credHelpers?.[key]).find((name) => name !== undefined);
    if (helper !== undefined) return askHelper(helper, registry);
    const entry = keys.map((key) => auths?.[key]).find((found) => found !== undefined);
    const stored = entry && fromEntry(entry);
    if (stored) return stored;
    return credsStore === undefined || credsStore === '' ? undefined : askHelper(credsStore, registry);
  };
}

async function readConfig(path: string): Promise<DockerConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  return (parseJson(text, path, 'E_USAGE') as DockerConfig | null) ?? {};
}

function keysOf(registry: string): string[] {
  const hub = registry === dockerHub ? ['https://index.docker.io/v1/', 'index.docker.io', 'registry-1.docker.io'] : [];
  return [
    registry,
    `https://${registry}`,
    `https://${registry}/`,
    `https://${registry}/v1/`,
    `https://${registry}/v2/`,
    `http://${registry}`,
    ...hub,
  ];
}

function fromEntry(entry: {
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
}): Credential | undefined {
  if (entry.identitytoken) return { kind: 'identity', token: entry.identitytoken };
  if (entry.username !== undefined && entry.password !== undefined)
    return { kind: 'basic', user: entry.username, password: entry.password };
  if (!entry.auth) return undefined;
  const decoded = Buffer.from(entry.auth, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 0 ? undefined : { kind: 'basic', user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** https://github.com/docker/docker-credential-helpers#development */
async function askHelper(helper: string, registry: string): Promise<Credential | undefined> {
  const server = registry === dockerHub ? 'https://index.docker.io/v1/' : registry;
  const program = `docker-credential-${helper}`;
  const { failed, output } = await new Promise<{ failed: Error | null; output: string }>((resolve) => {
    const child = execFile(program, ['get'], { timeout: 30_000 }, (failed, output) => resolve({ failed, output }));
    // A helper that is not installed has no input to write to; execFile reports that by itself.
    child.stdin?.on('error', () => {});
    child.stdin?.end(server);
  });
  if (failed && /not found/i.test(output)) return undefined;
  if (failed)
    throw new MirrorError('E_AUTH', `the credential helper \`${program}\` failed for \`${registry}\``, {
      hint: `run \`echo ${server} | ${program} get\` to see why`,
      cause: failed,
    });
  const answer = parseJson(output, program, 'E_AUTH') as { Username?: string; Secret?: string };
  if (answer.Username === '<token>') return { kind: 'identity', token: answer.Secret ?? '' };
  return { kind: 'basic', user: answer.Username ?? '', password: answer.Secret ?? '' };
}
