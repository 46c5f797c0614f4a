import { gunzipSync } from 'node:zlib';
import { digestOf } from './digest.ts';
import { type BuiltImage, descriptorOf, type ImageDescriptor } from './images.ts';
import { type TarFile, tarOf } from './tar.ts';

/** An image and the names that an archive gives it. */
export interface SavedImage {
  image: BuiltImage;
  tags?: string[];
}

interface SavedManifest {
  Config: string;
  RepoTags: string[] | null;
  Layers: string[];
}

/** As docker before 25: a folder for each layer, and links where layers are the same. */
export function dockerSave(images: readonly SavedImage[]): Uint8Array {
  const members = new Map<string, TarFile>();
  const placed = new Map<string, string>();
  const manifests = images.map(({ image, tags }, index): SavedManifest => {
    const { config, layers } = partsOf(image);
    const paths = layers.map((layer, number) => {
      const bytes = gunzipSync(layer);
      const path = `${digestOf(Buffer.from(`${index} ${number}`)).slice(7)}/layer.tar`;
      const first = placed.get(digestOf(bytes));
      placed.set(digestOf(bytes), first ?? path);
      members.set(
        path,
        first === undefined ? { path, bytes } : { path, bytes: Buffer.alloc(0), type: '2', link: `../${first}` },
      );
      return path;
    });
    const name = `${digestOf(config).slice(7)}.json`;
    members.set(name, { path: name, bytes: config });
    return { Config: name, RepoTags: tags ?? null, Layers: paths };
  });
  return archiveOf([...members.values()], manifests);
}

/** As podman and skopeo: files at the top that are named by what is in them. */
export function podmanSave(images: readonly SavedImage[]): Uint8Array {
  return flatArchive(
    images,
    (hex) => `${hex}.json`,
    (layer) => {
      const bytes = gunzipSync(layer);
      return { path: `${digestOf(bytes).slice(7)}.tar`, bytes };
    },
  );
}

/** As `crane pull`: layers stay compressed. */
export function craneTarball(images: readonly SavedImage[]): Uint8Array {
  return flatArchive(
    images,
    (hex) => `sha256:${hex}`,
    (layer) => ({ path: `${digestOf(layer).slice(7)}.tar.gz`, bytes: layer }),
  );
}

/** As docker from 25 on: an image layout with a manifest.json beside it, named in containerd's way. */
export function dockerSaveOfLayout(images: readonly SavedImage[]): Uint8Array {
  const manifests = images.flatMap(({ image, tags }) =>
    (tags ?? []).map((tag) => ({
      ...descriptorOf(image),
      annotations: {
        'io.containerd.image.name': tag,
        'org.opencontainers.image.ref.name': tag.slice(tag.lastIndexOf(':') + 1),
      },
    })),
  );
  return tarOf([...layoutFiles(images, manifests), json('manifest.json', [{ Config: 'of the old form', Layers: [] }])]);
}

/** The files of an image layout, without names unless `manifests` gives some. */
export function layoutFiles(
  images: readonly SavedImage[],
  manifests: readonly ImageDescriptor[] = images.map(({ image }) => descriptorOf(image)),
): TarFile[] {
  const blobs = images.flatMap(({ image }) => [
    ...image.blobs,
    ...[...image.manifests].map(([digest, { bytes }]) => [digest, bytes] as const),
  ]);
  return [
    json('oci-layout', { imageLayoutVersion: '1.0.0' }),
    json('index.json', { schemaVersion: 2, manifests }),
    ...[...new Map(blobs)].map(([digest, bytes]) => ({ path: `blobs/${digest.replace(':', '/')}`, bytes })),
  ];
}

export function archiveOf(members: readonly TarFile[], manifest: unknown): Uint8Array {
  return tarOf([...members, json('manifest.json', manifest), json('repositories', {})]);
}

/** Config and layers of an image for one platform. */
export function partsOf(image: BuiltImage): { config: Uint8Array; layers: Uint8Array[] } {
  const [config = Buffer.alloc(0), ...layers] = image.blobs.values();
  return { config, layers };
}

function flatArchive(
  images: readonly SavedImage[],
  configName: (hex: string) => string,
  place: (layer: Uint8Array) => TarFile,
): Uint8Array {
  const members = new Map<string, TarFile>();
  const manifests = images.map(({ image, tags }): SavedManifest => {
    const { config, layers } = partsOf(image);
    const name = configName(digestOf(config).slice(7));
    const files = layers.map(place);
    for (const file of [{ path: name, bytes: config }, ...files]) members.set(file.path, file);
    return { Config: name, RepoTags: tags ?? null, Layers: files.map(({ path }) => path) };
  });
  return archiveOf([...members.values()], manifests);
}

function json(path: string, value: unknown): TarFile {
  return { path, bytes: Buffer.from(JSON.stringify(value)) };
}
