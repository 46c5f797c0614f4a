import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '../core/digest.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { plural } from '../core/text.ts';
import { writeFileAtomic } from '../fs/atomic.ts';
import { s3Endpoint, s3Region } from '../objects/s3-settings.ts';
import { type AccessSettings, chooseCredentials } from '../values/bucket-access.ts';
import { consumers } from '../values/consumers.ts';
import { containerdHosts } from '../values/containerd-hosts.ts';
import type { CredentialKind } from '../values/credential-kind.ts';
import { countPlaceholders, fileText, type GeneratedFile, isUntouched } from '../values/generated-file.ts';
import { bucketKeys, namesBucketSecret, pullSecret } from '../values/secrets.ts';
import { isSieImage, sieImages } from '../values/sie-images.ts';
import { siePostRender } from '../values/sie-post-render.ts';
import { readableByWorkers, sieValues } from '../values/sie-values.ts';
import { chooseSieVersion, sieVersionsOf } from '../values/sie-version.ts';
import { sourceName, targetName, type Zone, type ZoneImage } from '../values/zone.ts';
import { hasPassword } from './places/address.ts';
import type { Context } from './context.ts';
import { readZone } from './values/zone.ts';

export interface ValuesOptions {
  receipt: string;
  /** Printed when not given. */
  out?: string | undefined;
  /** Every one that the receipt has something for when empty. */
  consumers: readonly string[];
  sieVersion?: string | undefined;
  credentials?: CredentialKind | undefined;
  /** Role ARN, or Google service account. */
  identity?: string | undefined;
  endpoint?: string | undefined;
  region?: string | undefined;
  pullSecret: string;
  /** Write over files that are not as `values` wrote them. */
  force: boolean;
}

/** What is made for one consumer. */
interface Made {
  files: GeneratedFile[];
  warnings: string[];
}

type Maker = (zone: Zone, settings: AccessSettings, options: ValuesOptions, context: Context) => Made;

const makers: Readonly<Record<string, Maker>> = {
  sie: forSie,
  containerd: (zone, _, __, context) => ({ files: hostsOf(zone, context).files, warnings: [] }),
  ...Object.fromEntries(
    Object.entries(consumers).map(([name, make]): [string, Maker] => [
      name,
      (zone, settings) => ({ files: [make(zone, settings) ?? []].flat(), warnings: [] }),
    ]),
  ),
};

/**
 * Files that put a cluster on what was imported. The same receipt and flags give the same bytes.
 * @throws E_USAGE for an incomplete receipt, an unknown consumer, or one that the receipt has nothing for;
 *   E_REFUSED for a file that is not as this command once wrote it
 */
export async function values(options: ValuesOptions, context: Context): Promise<Report> {
  const unknown = options.consumers.find((name) => !Object.hasOwn(makers, name));
  if (unknown !== undefined)
    throw new MirrorError('E_USAGE', `\`--for ${unknown}\`: there is no such consumer`, {
      hint: `choose of ${Object.keys(makers).join(', ')}`,
    });
  const zone = await readZone(options.receipt, context);
  const settings = settingsOf(zone, options, context);
  const { files, warnings } = makeFiles(zone, settings, options, context);
  for (const text of warnings) context.report({ type: 'warning', text });
  return options.out === undefined
    ? printed(files, zone)
    : written(files, zone, context.path(options.out), options.force);
}

/** @throws E_USAGE */
function settingsOf(zone: Zone, options: ValuesOptions, { env }: Context): AccessSettings {
  const endpoint = options.endpoint ?? s3Endpoint(env);
  if (endpoint !== undefined && (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint) || hasPassword(endpoint)))
    throw new MirrorError(
      'E_USAGE',
      'the endpoint of the store is no address that begins with https://, or holds a password',
      {
        hint: 'write it as `--endpoint https://HOST[:PORT]`',
      },
    );
  const bucket = readableByWorkers(zone.models) ? zone.models : undefined;
  return {
    credentials: chooseCredentials(bucket, options.credentials),
    endpoint,
    region: options.region ?? s3Region(env),
    virtualHost: env['AWS_S3_ADDRESSING_STYLE'] === 'virtual',
    identity: options.identity,
    pullSecret: options.pullSecret,
  };
}

function makeFiles(zone: Zone, settings: AccessSettings, options: ValuesOptions, context: Context): Made {
  const names =
    options.consumers.length > 0
      ? options.consumers
      : Object.keys(makers).filter((name) => isServed(name, zone, options));
  const made = [...new Set(names)].map((name) => {
    const of = makers[name]?.(zone, settings, options, context) ?? { files: [], warnings: [] };
    if (of.files.length === 0 && options.consumers.length > 0) throw nothingFor(name, zone);
    return of.files.length === 0 ? of : { ...of, warnings: [...of.warnings, ...pathWarning(name, zone, settings)] };
  });
  const files = made.flatMap((each) => each.files);
  if (files.length === 0) throw nothingFor('any consumer', zone);
  return { files: [...files, ...secretsOf(zone, settings, files)], warnings: made.flatMap((each) => each.warnings) };
}

/** Some ask a store with an address of its own for buckets in the path, whatever it wants. */
function pathWarning(name: string, { models }: Zone, { endpoint, virtualHost }: AccessSettings): string[] {
  const asks = (name === 'sie' || name === 'llmkube') && endpoint !== undefined && models?.startsWith('s3://') === true;
  return asks && virtualHost
    ? [`${name} names the bucket in the path, which a store may refuse that is set to names in the host`]
    : [];
}

/** The others say so themselves, by making no file. */
function isServed(name: string, zone: Zone, { sieVersion }: ValuesOptions): boolean {
  return name !== 'sie' || sieVersion !== undefined || sieVersionsOf(zone).length > 0;
}

function nothingFor(name: string, zone: Zone): MirrorError {
  return new MirrorError('E_USAGE', `the receipt of \`${zone.name}\` holds nothing for ${name}`, {
    hint: 'docs/values.md says what each consumer reads',
  });
}

/** The Secrets that the files speak of. */
function secretsOf(zone: Zone, settings: AccessSettings, files: readonly GeneratedFile[]): GeneratedFile[] {
  const ofModels = zone.modelList.flatMap(({ image }) => (image ? [image.registry] : []));
  const registries = [...new Set([...zone.images.map(({ target }) => target.registry), ...ofModels])].sort();
  return [
    ...(registries.length > 0 ? [pullSecret(settings.pullSecret, registries)] : []),
    ...(files.some(({ body }) => namesBucketSecret(body)) ? [bucketKeys(zone.models, settings)] : []),
  ];
}

function hostsOf(zone: Zone, { http }: Context): ReturnType<typeof containerdHosts> {
  return containerdHosts(zone, (host) => http.schemeOf(host));
}

function forSie(zone: Zone, settings: AccessSettings, { sieVersion }: ValuesOptions, context: Context): Made {
  const release = chooseSieVersion(zone, sieVersion);
  const images = sieImages(zone, release);
  const { reached } = hostsOf(zone, context);
  const files = [sieValues(zone, release, images, reached, settings)];
  const warnings = images.missing.map((name) => `the receipt has no image \`${name}\` for SIE ${release.version}`);
  if (!release.known) warnings.push(`SIE ${release.version} is newer than the charts that these values were made for`);
  if (readableByWorkers(zone.models)) {
    if (!release.passesClusterCache) files.push(...siePostRender());
  } else warnings.push(`SIE cannot read models from \`${zone.models ?? 'nowhere'}\`: import them to s3:// or gs://`);
  return { files, warnings: [...warnings, ...unreachable(zone, images.images, reached)] };
}

/** Images of the chart that nothing which is written here makes a node find; of other releases there may be more. */
function unreachable({ images }: Zone, moved: ReadonlyMap<string, ZoneImage>, reached: readonly ZoneImage[]): string[] {
  return images
    .filter((image) => isSieImage(image) && ![...moved.values(), ...reached].includes(image))
    .filter((image) => !sourceName(image).startsWith('ghcr.io/superlinked/'))
    .map(
      (image) =>
        `neither values nor hosts.toml lead from \`${sourceName(image)}\` to \`${targetName(image)}\`: import it again without \`to\` or \`rewrite\``,
    );
}

function describe(file: GeneratedFile, zone: Zone, state: ReportItem['state']): ReportItem {
  const text = fileText(file, zone);
  return {
    kind: 'file',
    name: file.path,
    state,
    bytes: Buffer.byteLength(text),
    digest: sha256(Buffer.from(text)),
    detail: { consumer: file.consumer, placeholders: countPlaceholders(file) },
  };
}

function printed(files: readonly GeneratedFile[], zone: Zone): Report {
  const items = files.map((file) => {
    const item = describe(file, zone, 'done');
    return { ...item, detail: { ...item.detail, text: fileText(file, zone) } };
  });
  const summary = files.flatMap((file) => [
    `# ==> ${file.path} <==`,
    ...fileText(file, zone).split('\n').slice(0, -1),
    '',
  ]);
  return makeReport('values', items, totalsOf(files), summary);
}

async function written(
  files: readonly GeneratedFile[],
  zone: Zone,
  directory: string,
  force: boolean,
): Promise<Report> {
  const states = new Map<string, 'done' | 'present'>();
  // All are looked at before one is written.
  for (const file of files)
    states.set(file.path, await stateOf(join(directory, file.path), fileText(file, zone), force));
  for (const file of files)
    if (states.get(file.path) === 'done')
      await writeFileAtomic(
        join(directory, file.path),
        fileText(file, zone),
        file.interpreter === undefined ? undefined : 0o755,
      );
  const items = files.map((file) => describe(file, zone, states.get(file.path) ?? 'done'));
  const totals = totalsOf(files);
  const open = files.filter((file) => countPlaceholders(file) > 0).map(({ path }) => path);
  return makeReport('values', items, totals, [
    ...items.map(({ name, state }) => `${state === 'present' ? 'was there already' : 'written'.padEnd(17)}  ${name}`),
    ...(open.length > 0 ? [`fill in what says REPLACE-ME in ${open.join(', ')}`] : []),
    `${plural(files.length, 'file')} in ${directory}`,
  ]);
}

/** @throws E_REFUSED */
async function stateOf(path: string, text: string, force: boolean): Promise<'done' | 'present'> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return 'done';
  const there = found.isFile() ? await readFile(path, 'utf8') : '';
  if (there === text) return 'present';
  if (!force && !isUntouched(there))
    throw new MirrorError('E_REFUSED', `\`${path}\` is not as \`sie-mirror values\` wrote it`, {
      hint: 'choose another `--out`, or write over it with `--force`',
      at: { side: 'target', item: path },
    });
  return 'done';
}

function totalsOf(files: readonly GeneratedFile[]): Record<string, number> {
  return { files: files.length, placeholders: files.reduce((sum, file) => sum + countPlaceholders(file), 0) };
}
