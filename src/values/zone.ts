import type { Digest } from '../core/digest.ts';

/** `registry/repository:tag`, as parts. */
export interface ImagePlace {
  registry: string;
  repository: string;
  /** Undefined for an image that is known by its digest only. */
  tag: string | undefined;
}

export interface ZoneImage {
  /** Where the world knows it. */
  source: ImagePlace;
  /** Where it is in the zone. */
  target: ImagePlace;
  digest: Digest;
}

export interface ZoneFile {
  /** Relative to the folder of the model. */
  path: string;
  digest: Digest;
}

export interface ZoneModel {
  repo: string;
  /** Below the target of the models: what a reader is pointed at that wants the model's files themselves. */
  folder: string;
  files: ZoneFile[];
  /** When the model lies in a registry: `REPOSITORY@DIGEST`, and as what. */
  image: { registry: string; reference: string; form: 'image' | 'modelpack' } | undefined;
}

/** What a zone holds, by the receipt of an import. */
export interface Zone {
  /** Of the bundle that was imported. */
  name: string;
  /** Of the receipt. */
  receipt: Digest;
  /** `s3://BUCKET/PREFIX`, `oci://HOST/PREFIX` and so on, without a slash at the end; undefined when no models were imported. */
  models: string | undefined;
  modelList: ZoneModel[];
  images: ZoneImage[];
}

/** The name by which the world knows an image, without its tag. */
export function sourceName({ source }: ZoneImage): string {
  return `${source.registry}/${source.repository}`;
}

/** What a pod spec names. */
export function targetName({ target, digest }: ZoneImage): string {
  return `${repositoryOf(target)}${target.tag === undefined ? `@${digest}` : `:${target.tag}`}`;
}

export function repositoryOf({ registry, repository }: ImagePlace): string {
  return `${registry}/${repository}`;
}

/**
 * What stands before an image's own repository in the zone, with a slash at its start, or nothing; undefined when no prefix
 * makes the one of the other, or the tag is another.
 */
export function prefixOf({ source, target }: ZoneImage): string | undefined {
  if (source.tag !== target.tag) return undefined;
  if (target.repository === source.repository) return '';
  return target.repository.endsWith(`/${source.repository}`)
    ? `/${target.repository.slice(0, -source.repository.length - 1)}`
    : undefined;
}
