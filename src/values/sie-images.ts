import type { SieRelease } from './sie-version.ts';
import { repositoryOf, sourceName, targetName, type Zone, type ZoneImage } from './zone.ts';
import type { YamlValue } from './yaml.ts';

/** Where the chart takes an image from. */
interface ImageValue {
  /** Of the place in the values, with `.` between. */
  path: string;
  /** Whether the tag is that of the SIE release, perhaps with platform and SIE bundle behind it. */
  ofRelease?: true;
  /** The template adds this to the tag. */
  suffix?: RegExp;
  /** The chart wants the whole reference in one string. */
  whole?: true;
  since?: (release: SieRelease) => boolean;
}

const sie = 'ghcr.io/superlinked';
const workerSuffix = /-(?:cpu|cuda\d+)-[a-z0-9-]+$/;

/** By the name that the world knows. Read out of the charts 0.3.1 and 0.7.3, and NATS' own chart. */
const imageValues: Readonly<Record<string, ImageValue>> = {
  [`${sie}/sie-config`]: { path: 'config.image', ofRelease: true },
  [`${sie}/sie-gateway`]: { path: 'gateway.image', ofRelease: true },
  [`${sie}/sie-server`]: { path: 'workers.common.image', ofRelease: true, suffix: workerSuffix },
  [`${sie}/sie-server-sidecar`]: {
    path: 'workers.common.workerSidecar.image',
    ofRelease: true,
    since: ({ hasSidecar }) => hasSidecar,
  },
  [`${sie}/sie-server-rust`]: {
    path: 'workers.common.rust.image',
    ofRelease: true,
    suffix: /-cuda\d+-sm\d+$/,
    since: ({ hasSidecar }) => hasSidecar,
  },
  [`${sie}/sie-mcp`]: { path: 'mcpEdge.image', ofRelease: true, since: ({ hasInitAndPayloads }) => hasInitAndPayloads },
  'ghcr.io/oauth2-proxy/oauth2-proxy': { path: 'auth.oauth2Proxy.image' },
  'docker.io/library/busybox': {
    path: 'gateway.waitForConfig.image',
    whole: true,
    since: ({ hasInitAndPayloads }) => hasInitAndPayloads,
  },
  'docker.io/otel/opentelemetry-collector-contrib': {
    path: 'observability.otel.collector.image',
    since: ({ hasInitAndPayloads }) => hasInitAndPayloads,
  },
  'docker.io/library/nats': { path: 'nats.container.image' },
  'docker.io/natsio/nats-server-config-reloader': { path: 'nats.reloader.image' },
  'docker.io/natsio/nats-box': { path: 'nats.natsBox.container.image' },
  'docker.io/natsio/prometheus-nats-exporter': { path: 'nats.promExporter.image' },
};

/** Whether the chart of SIE uses it. */
export function isSieImage(image: ZoneImage): boolean {
  const name = sourceName(image);
  return name in imageValues || [hardCoded.pause, ...hardCoded.others].includes(`${name}:${image.source.tag ?? ''}`);
}

/** Images that templates name themselves. */
export const hardCoded: { pause: string; others: readonly string[] } = {
  pause: 'registry.k8s.io/pause:3.10',
  others: ['docker.io/library/alpine:3.19', 'docker.io/alpine/k8s:1.29.10'],
};

export interface SieImages {
  /** By the path of the value: what to set. */
  settings: Map<string, YamlValue>;
  /** What was set from, by the same paths. */
  images: Map<string, ZoneImage>;
  /** Worker images of the release, as `PLATFORM-BUNDLE`. */
  workers: string[];
  /** Images of the chart that have to be there, and are not. */
  missing: string[];
}

/** Which values move which images of the zone. */
export function sieImages({ images }: Zone, release: SieRelease): SieImages {
  const found: SieImages = { settings: new Map(), images: new Map(), workers: [], missing: [] };
  for (const [name, value] of Object.entries(imageValues)) {
    if (value.since && !value.since(release)) continue;
    const candidates = images.filter((image) => sourceName(image) === name && fits(image, value, release));
    const [image] = candidates.sort(newestFirst);
    if (!image) {
      if (isNeeded(value.path, release)) found.missing.push(name);
      continue;
    }
    found.images.set(value.path, image);
    found.settings.set(value.path, value.whole ? targetName(image) : settingOf(image, value));
    if (value.path === 'workers.common.image')
      found.workers = candidates.map(({ target }) => workerSuffix.exec(target.tag ?? '')?.[0].slice(1) ?? '').sort();
  }
  return found;
}

function fits({ target: { tag } }: ZoneImage, { ofRelease, suffix }: ImageValue, { version }: SieRelease): boolean {
  if (tag === undefined) return false;
  if (suffix && !suffix.test(tag)) return false;
  return !ofRelease || baseTag(tag, suffix).replace(/^v/, '') === version;
}

function settingOf({ target }: ZoneImage, { suffix }: ImageValue): YamlValue {
  return { repository: repositoryOf(target), tag: baseTag(target.tag ?? '', suffix) };
}

function baseTag(tag: string, suffix: RegExp | undefined): string {
  return suffix ? tag.replace(suffix, '') : tag;
}

function isNeeded(path: string, { hasSidecar }: SieRelease): boolean {
  const always = ['config.image', 'gateway.image', 'workers.common.image', 'nats.container.image'];
  return always.includes(path) || (hasSidecar && path === 'workers.common.workerSidecar.image');
}

function newestFirst(a: ZoneImage, b: ZoneImage): number {
  return (b.target.tag ?? '').localeCompare(a.target.tag ?? '', 'en', { numeric: true });
}
