import type { GeneratedFile } from './generated-file.ts';
import { prefixOf, sourceName, targetName, type Zone, type ZoneImage } from './zone.ts';

export interface ContainerdHosts {
  files: GeneratedFile[];
  /** Images that a node finds under their own name by these files. */
  reached: ZoneImage[];
}

/**
 * containerd's `certs.d`: one directory for each registry that images came from, so that a pod may name them as the
 * world does. A mirror can only put a prefix before a repository, so an image is reached when it lies in the zone at
 * `PREFIX/REPOSITORY` under its own tag. https://github.com/containerd/containerd/blob/main/docs/hosts.md
 * @param schemeOf whether a registry of the zone is spoken to by plain HTTP
 */
export function containerdHosts(zone: Zone, schemeOf: (host: string) => 'http' | 'https'): ContainerdHosts {
  const mirrors = new Map<string, Map<string, ZoneImage[]>>();
  const reached: ZoneImage[] = [];
  for (const image of zone.images) {
    const prefix = prefixOf(image);
    if (prefix === undefined || image.source.registry === image.target.registry) continue;
    reached.push(image);
    const address = `${schemeOf(image.target.registry)}://${image.target.registry}/v2${prefix}`;
    const ofRegistry = mirrors.get(image.source.registry) ?? new Map<string, ZoneImage[]>();
    mirrors.set(image.source.registry, ofRegistry);
    ofRegistry.set(address, [...(ofRegistry.get(address) ?? []), image]);
  }
  const files = [...mirrors].sort(byKey).map(([registry, ofRegistry]): GeneratedFile => ({
    // A colon is no part of a file name everywhere; containerd reads this form too.
    path: `containerd/certs.d/${registry.replace(/:(\d+)$/, '_$1_')}/hosts.toml`,
    consumer: 'containerd',
    body: hostsToml([...ofRegistry].sort(byKey)),
  }));
  return { files, reached };
}

function hostsToml(mirrors: [string, ZoneImage[]][]): string {
  const [[server] = ['']] = mirrors;
  const tables = mirrors.map(([address, images]) =>
    [
      ...images.map((image) => `# ${sourceName(image)}${tagOf(image)} is ${targetName(image)}`),
      `[host.${JSON.stringify(address)}]`,
      'capabilities = ["pull", "resolve"]',
      'override_path = true',
      '',
    ].join('\n'),
  );
  return [
    '# Asked last; without it that would be the registry itself, for which a node without internet waits in vain.',
    `server = ${JSON.stringify(server)}`,
    'override_path = true',
    '',
    ...tables,
  ].join('\n');
}

function tagOf({ source, digest }: ZoneImage): string {
  return source.tag === undefined ? `@${digest}` : `:${source.tag}`;
}

function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
