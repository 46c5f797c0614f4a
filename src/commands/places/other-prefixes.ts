import { MirrorError } from '../../core/errors.ts';
import type { FileTree } from '../../core/ports.ts';
import { printable } from '../../core/text.ts';

/** Prefixes that other tools have for places, and what to do about them. */
export const otherPrefixes = {
  dir: 'copy it into a layout first: `skopeo copy dir:DIR oci:LAYOUT:NAME`, then copy `oci:LAYOUT`',
  'docker-daemon': 'save it first: `docker save IMAGE > image.tar`, then copy `docker-archive:image.tar`',
  'containers-storage':
    'save it first: `podman save --format oci-archive -o image.tar IMAGE`, then copy `oci-archive:image.tar`',
  ocidir: 'write it as `oci:DIR`',
} as const;

/** @throws E_USAGE for what would be taken for the name of an image, or of a registry, that nobody means */
export function refuseOtherPrefix(text: string): void {
  for (const [prefix, hint] of Object.entries(otherPrefixes))
    // A registry may have such a name, and a port.
    if (text.startsWith(`${prefix}:`) && !/^[^:]*:\d+\//.test(text))
      throw new MirrorError('E_USAGE', `\`${printable(text)}\`: places of the kind \`${prefix}:\` are not known here`, {
        hint,
      });
}

/**
 * Whether a directory is what skopeo calls `dir:` and podman `docker-dir`.
 * https://github.com/containers/image/blob/main/docs/containers-transports.5.md
 */
export async function isImageDirectory(tree: FileTree): Promise<boolean> {
  const has = async (path: string): Promise<boolean> => (await tree.file(path)) !== undefined;
  return (await has('version')) && (await has('manifest.json')) && !(await has('oci-layout'));
}
