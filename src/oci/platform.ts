import type { Descriptor, Platform } from '../core/descriptor.ts';
import { MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';

const part = /^[A-Za-z0-9_.-]+$/;

/**
 * Reads `os/architecture[/variant]`.
 * @throws E_USAGE
 */
export function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant, ...more] = text.split('/');
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  if (more.length > 0 || !parts.every((each) => part.test(each)))
    throw new MirrorError('E_USAGE', `\`${printable(text)}\` is not a platform`, {
      hint: 'write it as `os/architecture` or `os/architecture/variant`: `linux/amd64`, `linux/arm/v7`',
    });
  return normalized({ os, architecture, variant });
}

/** In the words that people use: `linux/arm64`, `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = normalized(platform);
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** Whether two names mean one platform. Variants match exactly: what runs on a lower one is not what was asked for. */
export function samePlatform(a: Platform, b: Platform): boolean {
  return formatPlatform(a) === formatPlatform(b);
}

/** Says nothing: what stands beside attestations. */
export function isUnknown({ os, architecture }: Platform): boolean {
  return os === 'unknown' || os === '' || architecture === 'unknown' || architecture === '';
}

const architectures: Record<string, Platform['architecture']> = {
  i386: '386',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  armel: 'arm',
};

/** As containerd does it, which is what pulls on the nodes: https://github.com/containerd/platforms/blob/main/database.go */
function normalized({ os, architecture, variant }: Platform): Platform {
  const named = architecture.toLowerCase();
  const result = { os: os.toLowerCase() === 'macos' ? 'darwin' : os.toLowerCase() };
  const found = variantOf(named, variant?.toLowerCase() ?? '');
  return { ...result, architecture: architectures[named] ?? named, ...(found === '' ? {} : { variant: found }) };
}

function variantOf(architecture: string, variant: string): string {
  if (architecture === 'i386') return '';
  if (architecture === 'armhf') return 'v7';
  if (architecture === 'armel') return 'v6';
  if (architecture === 'arm') return variant === '' ? 'v7' : variant.replace(/^(?=[5-8]$)/, 'v');
  const base: Record<string, readonly string[]> = {
    amd64: ['v1'],
    x86_64: ['v1'],
    'x86-64': ['v1'],
    arm64: ['8', 'v8'],
    aarch64: ['8', 'v8'],
  };
  return base[architecture]?.includes(variant) ? '' : variant;
}

/** What BuildKit says of an attestation in an index: https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md */
export function attestedBy({ annotations }: Descriptor): string | undefined {
  return annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
    ? annotations['vnd.docker.reference.digest']
    : undefined;
}

/** `annotations` of an index that was made of a larger one: the digest of that one. */
export const sourceDigestAnnotation = 'io.sie-mirror.source.digest';

/**
 * The bytes of an index with only some of its entries, in their order, and with all else that it says.
 * @param kept for each entry its descriptor, as it is or with the digest that it got; undefined leaves it out
 * @param source digest of the index that it is made of, which it then names in an annotation
 */
export function subsetIndex(
  bytes: Uint8Array,
  kept: readonly (Pick<Descriptor, 'digest' | 'size'> | undefined)[],
  source: string,
): Buffer {
  const document = JSON.parse(Buffer.from(bytes).toString('utf8')) as {
    manifests: Record<string, unknown>[];
    annotations?: Record<string, string> | null;
  };
  document.manifests = document.manifests.flatMap((entry, index) => {
    const now = kept[index];
    return now === undefined ? [] : [now.digest === entry['digest'] ? entry : resized(entry, now)];
  });
  document.annotations = { ...document.annotations, [sourceDigestAnnotation]: source };
  return Buffer.from(JSON.stringify(document));
}

/** An entry for other bytes than before: those that stood in it would be the old ones. */
function resized(
  entry: Record<string, unknown>,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): Record<string, unknown> {
  const { data: _, ...rest } = entry;
  return { ...rest, digest, size };
}
