import { MirrorError } from '../core/errors.ts';
import { sourceName, type Zone } from './zone.ts';

/** A release of SIE, and what its chart can do. */
export interface SieRelease {
  /** `0.3.4`, without `v`. */
  version: string;
  /** Whether the chart hands `clusterCache.url` on to the worker, which else throws the variable away at its start. */
  passesClusterCache: boolean;
  /** Whether workers have a side-car that speaks NATS. */
  hasSidecar: boolean;
  /** Whether the gateway waits in an init container of busybox, and the payload store is on unless it is switched off. */
  hasInitAndPayloads: boolean;
  /** Whether we know this chart; of a newer one we expect what the newest known one does. */
  known: boolean;
}

const tagged = /^v?(\d+\.\d+\.\d+(?:-(?!cpu\b|cuda\d)[0-9A-Za-z.-]+?)?)(?:-(?:cpu|cuda\d+)-[a-z0-9-]+)?$/;
const sieImages = ['sie-gateway', 'sie-config', 'sie-server'].map((name) => `ghcr.io/superlinked/${name}`);

/** The releases whose images a zone holds, in order. */
export function sieVersionsOf({ images }: Zone): string[] {
  const versions = images
    .filter((image) => sieImages.includes(sourceName(image)))
    .flatMap(({ source }) => tagged.exec(source.tag ?? '')?.[1] ?? []);
  return [...new Set(versions)].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/**
 * The release to write values for: what the user says, else the one whose images are there.
 * @throws E_USAGE when that is none or several
 */
export function chooseSieVersion(zone: Zone, asked: string | undefined): SieRelease {
  if (asked !== undefined) return releaseOf(asked);
  const [found, ...more] = sieVersionsOf(zone);
  if (found === undefined || more.length > 0)
    throw new MirrorError(
      'E_USAGE',
      found === undefined
        ? 'the receipt has no image of SIE that says which release it is'
        : `the receipt has images of several releases of SIE: ${[found, ...more].join(', ')}`,
      { hint: 'name the release of the chart with `--sie-version`' },
    );
  return releaseOf(found);
}

/** @throws E_USAGE */
function releaseOf(text: string): SieRelease {
  const version = text.replace(/^v/, '');
  const parts = /^(\d+)\.(\d+)\.\d+/.exec(version);
  const minor = parts?.[1] === '0' ? Number(parts[2]) : Number.POSITIVE_INFINITY;
  if (!parts || minor < 3)
    throw new MirrorError('E_USAGE', `\`--sie-version ${text}\`: a release from 0.3.0 on was wanted, as in \`0.3.4\``);
  return {
    version,
    passesClusterCache: minor >= 7,
    hasSidecar: minor >= 4,
    hasInitAndPayloads: minor >= 7,
    known: minor <= 10,
  };
}
