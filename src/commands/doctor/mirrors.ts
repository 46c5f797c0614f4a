import { directEndpoint } from '../../oci/access/access.ts';
import { readHosts } from '../../oci/access/hosts.ts';
import type { Context } from '../context.ts';

/** Which registries containerd asks by way of a mirror. @param directory with hosts.toml; without one nobody knows @throws E_USAGE */
export async function mirroredHosts(
  hosts: readonly string[],
  directory: string | undefined,
  context: Context,
): Promise<ReadonlySet<string>> {
  const mirrored = new Set<string>();
  if (directory === undefined) return mirrored;
  const options = { root: context.path(directory), named: true, trusted: () => Promise.resolve([]) };
  for (const host of new Set(hosts)) {
    const configured = await readHosts(directEndpoint(host, context.http), options);
    if ((configured?.mirrors.length ?? 0) > 0) mirrored.add(host);
  }
  return mirrored;
}
