import { type AccessSettings, bucketEnv, type EnvVar, identityAnnotations } from './bucket-access.ts';
import type { GeneratedFile } from './generated-file.ts';
import { hardCoded, type SieImages } from './sie-images.ts';
import type { SieRelease } from './sie-version.ts';
import { type Comments, formatYaml, type YamlValue } from './yaml.ts';
import { sourceName, type Zone, type ZoneImage } from './zone.ts';

/** Places of values, with `.` between, in the order in which they were set. */
class Values {
  readonly #root: Record<string, YamlValue> = {};

  /** Keys with a `.` in them belong into an object that is set. */
  set(path: string, value: YamlValue): void {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let at = this.#root;
    for (const key of keys) {
      at[key] ??= {};
      at = at[key] as Record<string, YamlValue>;
    }
    at[last] = value;
  }

  get(): YamlValue {
    return this.#root;
  }
}

/**
 * Values for the chart `sie-cluster` of a release, with which it runs from what the zone holds and asks nobody outside.
 * @param reached images that nodes find under their own name
 */
export function sieValues(
  zone: Zone,
  release: SieRelease,
  images: SieImages,
  reached: readonly ZoneImage[],
  settings: AccessSettings,
): GeneratedFile {
  const values = new Values();
  values.set('global.imagePullSecrets', [settings.pullSecret]);
  values.set('global.image.pullSecretNames', [settings.pullSecret]);
  for (const [path, value] of images.settings) values.set(path, value);
  setPlatform(values, images);
  setWhatIsNotThere(values, release, images, reached);
  setModels(values, zone, settings);
  values.set('workers.common.hfCache.tokenSecret', '');
  values.set('workers.common.extraEnv', [...offlineEnv, ...modelEnv(zone, settings)]);
  values.set('hfToken.create', false);
  values.set('telemetry.enabled', false);
  values.set('payloadStore.enabled', false);
  return {
    path: `sie/values-${release.version}.yaml`,
    consumer: 'sie',
    body: [
      `# For the chart sie-cluster ${release.version}${release.known ? '' : ', which is newer than those that this was made for: compare it with the chart'}.`,
      ...workerNotes(images),
      formatYaml(values.get(), comments(release, images)),
    ].join('\n'),
  };
}

/** Workers look on the hub for what they have already; with these they neither wait for it nor ask. */
const offlineEnv: EnvVar[] = [
  { name: 'HF_HUB_OFFLINE', value: '1' },
  { name: 'TRANSFORMERS_OFFLINE', value: '1' },
  { name: 'HF_DATASETS_OFFLINE', value: '1' },
  { name: 'HF_HUB_DISABLE_TELEMETRY', value: '1' },
  { name: 'HF_HUB_DISABLE_XET', value: '1' },
  { name: 'DO_NOT_TRACK', value: '1' },
];

/** The worker reads buckets only: a directory has no way into its pod by this chart. */
export function readableByWorkers(models: string | undefined): models is string {
  return models !== undefined && /^(?:s3|gs):\/\//.test(models);
}

function setModels(values: Values, { models }: Zone, settings: AccessSettings): void {
  if (!readableByWorkers(models)) return;
  values.set('workers.common.clusterCache', { enabled: true, url: models });
  const annotations = identityAnnotations(settings);
  if (Object.keys(annotations).length > 0) values.set('serviceAccount.annotations', annotations);
}

function modelEnv({ models }: Zone, settings: AccessSettings): EnvVar[] {
  return readableByWorkers(models) ? bucketEnv(models, settings, 'AWS_ENDPOINT_URL_S3') : [];
}

function setPlatform(values: Values, { workers }: SieImages): void {
  const platforms = new Set(workers.map((worker) => worker.slice(0, worker.indexOf('-'))));
  const [only] = platforms;
  if (platforms.size === 1 && only !== undefined) values.set('workers.common.platform', only);
}

/** Parts whose image did not come along would only stand there in ImagePullBackOff. */
function setWhatIsNotThere(
  values: Values,
  release: SieRelease,
  images: SieImages,
  reached: readonly ZoneImage[],
): void {
  const names = new Set(reached.map((image) => `${sourceName(image)}:${image.source.tag ?? ''}`));
  if (!names.has(hardCoded.pause)) values.set('workers.common.imagePrepull.enabled', false);
  const lacks = (path: string): boolean => !images.images.has(path);
  if (release.hasInitAndPayloads && lacks('gateway.waitForConfig.image'))
    values.set('gateway.waitForConfig.enabled', false);
  if (lacks('nats.reloader.image')) values.set('nats.reloader.enabled', false);
  if (lacks('nats.natsBox.container.image')) values.set('nats.natsBox.enabled', false);
  if (hardCoded.others.some((name) => !names.has(name))) values.set('healthGates.enabled', false);
}

function workerNotes({ workers }: SieImages): string[] {
  if (workers.length === 0) return [];
  return [
    `# Worker images in the zone, by platform and SIE bundle: ${workers.join(', ')}. Switch on pools of these only, under workers.pools.`,
  ];
}

function comments(release: SieRelease, images: SieImages): Comments {
  const ofImages = [...images.images].map(([path, { digest }]) => [path, digest] as const);
  return {
    ...Object.fromEntries(ofImages),
    'global.image': 'The same for the sub-chart of NATS.',
    'workers.common.imagePrepull': `It runs ${hardCoded.pause}, which nodes find by containerd's hosts.toml only, and not in this zone.`,
    'workers.common.clusterCache': release.passesClusterCache
      ? 'A worker that starts while this prefix is still being filled keeps half a model: import first, or into a new prefix.'
      : 'This chart does not hand it on to the workers: install with sie/post-render.sh, or they load nothing.',
    'workers.common.extraEnv':
      'SIE_HF_FALLBACK would be overwritten by the worker; HF_HUB_OFFLINE is what keeps it from the hub.',
    healthGates: `Its jobs run ${hardCoded.others.join(' and ')}, which nodes find by containerd's hosts.toml only, and not in this zone.`,
    payloadStore: [
      'Requests over 1 MB need one: set a url in the zone that gateway and workers may write to.',
      ...(release.hasSidecar && !release.passesClusterCache
        ? ['Some charts of this age have one all the same, at payloads/ beside the models.']
        : []),
    ].join('\n'),
    serviceAccount: 'It has to be bound to an identity that may list and get the objects of the models.',
  };
}
