import { join } from 'node:path';
import { type CredentialFile, readCredentialFile } from './credential-file.ts';
import { CredentialHelpers } from './credential-helper.ts';
import type { Credential, CredentialFinder } from './credentials.ts';

/**
 * Credentials where docker, podman and skopeo keep them. `REGISTRY_AUTH_FILE` alone when it is set; else docker's config.json
 * (`DOCKER_CONFIG`, `~/.docker`), then auth.json of `XDG_RUNTIME_DIR` and of `XDG_CONFIG_HOME`, and the first that has
 * one for the repository. In each file: the helper for the host, then `auths`, then the common helper.
 * https://docs.docker.com/reference/cli/docker/login/#credential-stores and
 * https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 */
export function findCredentials(env: Record<string, string | undefined>, home: string): CredentialFinder {
  const helpers = new CredentialHelpers(env);
  let files: Promise<CredentialFile[]> | undefined;
  return async (registry, repository, refused) => {
    files ??= readFiles(env, home);
    let problem: { error: unknown } | undefined;
    for (const file of await files) {
      try {
        const found = await lookUp(file, helpers, registry, repository, refused);
        if (found) return found;
      } catch (error) {
        problem ??= { error };
      }
    }
    if (problem) throw problem.error;
    return undefined;
  };
}

async function readFiles(env: Record<string, string | undefined>, home: string): Promise<CredentialFile[]> {
  const only = env['REGISTRY_AUTH_FILE'];
  if (only) return [await readCredentialFile(only, 'REGISTRY_AUTH_FILE')].filter((file) => file !== undefined);
  const runtime = env['XDG_RUNTIME_DIR'];
  const paths = [
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    ...(runtime ? [join(runtime, 'containers/auth.json')] : []),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers/auth.json'),
  ];
  const files = await Promise.all(paths.map((path) => readCredentialFile(path)));
  return files.filter((file) => file !== undefined);
}

async function lookUp(
  file: CredentialFile,
  helpers: CredentialHelpers,
  registry: string,
  repository: string,
  refused: Credential | undefined,
): Promise<Credential | undefined> {
  const helper = file.helperFor(registry);
  if (helper !== undefined) return helpers.get(helper, file.spelt(registry), refused);
  const stored = file.entryFor(registry, repository);
  if (stored) return stored;
  return file.store === undefined ? undefined : helpers.get(file.store, file.spelt(registry), refused);
}
