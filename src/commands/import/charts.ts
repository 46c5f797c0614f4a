import type { ImageItem } from '../../bundle/records/inventory.ts';
import type { BundleReader } from '../../bundle/reader.ts';
import { MirrorError } from '../../core/errors.ts';
import { expectationOf, readVerified } from '../../core/stream.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { OciLayout } from '../../oci/layout/layout.ts';
import { splitName } from '../../oci/layout/index-file.ts';
import { attempt } from '../attempt.ts';
import { putFiles } from './files.ts';
import { placeImage, type PlacedImage } from './images.ts';
import type { ModelObject } from './placed-object.ts';
import { type ImportRun, noteBrought } from './run.ts';
import type { TargetState } from './state.ts';

/** https://helm.sh/docs/topics/registries/#helm-chart-manifest */
const chartTypes = {
  config: 'application/vnd.cncf.helm.config.v1+json',
  content: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
  provenance: 'application/vnd.cncf.helm.chart.provenance.v1.prov',
} as const;

/** Which items of a bundle are Helm charts. */
export async function chartsOf(reader: BundleReader): Promise<ImageItem[]> {
  const layout = layoutOf(reader);
  const charts: ImageItem[] = [];
  for (const item of reader.inventory.items)
    if (item.kind === 'image' && (await artifactType(item, reader, layout)) === chartTypes.config) charts.push(item);
  return charts;
}

function layoutOf(reader: BundleReader): OciLayout {
  return new OciLayout(reader.tree('oci'), reader.inventory.name);
}

async function artifactType({ root }: ImageItem, reader: BundleReader, layout: OciLayout): Promise<string | undefined> {
  if (root.artifactType !== undefined) return root.artifactType;
  const blob = reader.find(root.digest);
  // Bundles say it of what is no image; in those of an earlier version it is read where that can be done.
  return blob && reader.lacking(blob).length === 0 ? (await layout.document(root)).artifactType : undefined;
}

/**
 * Where charts go in a registry: each right below the place, under its own name, as `helm push` puts it.
 * @param place `oci://HOST[/PREFIX]`
 * @throws E_USAGE, E_MANIFEST
 */
export function placeCharts(charts: readonly ImageItem[], place: string): PlacedImage[] {
  const below = place.slice('oci://'.length).replace(/\/+$/, '');
  return charts.map((item) => {
    const { repository } = splitName(item.reference);
    return { ...placeImage(item, below, repository.slice(repository.lastIndexOf('/') + 1)), chart: true };
  });
}

const aboutSchema = z.object({
  name: z.string().regex(/^[A-Za-z0-9][\w.-]{0,249}$/),
  version: z.string().regex(/^[A-Za-z0-9][\w.+-]{0,127}$/),
});

/** The files that `helm pull` would write of a chart: `NAME-VERSION.tgz`, and its `.prov` where it has one. */
async function chartFiles(item: ImageItem, reader: BundleReader, layout: OciLayout): Promise<ModelObject[]> {
  const { blobs } = await layout.document(item.root);
  const [config] = blobs;
  if (!config) throw noChart(item);
  if (blobs.some(({ digest }) => !reader.has(digest))) throw inBase(item);
  const found = await layout.content(config);
  const about = parseJson(await readVerified(found, expectationOf(config)), item.reference);
  const { name, version } = validate(aboutSchema, about, item.reference);
  const files = blobs.flatMap(({ mediaType, digest, size }): ModelObject[] => {
    const ending = { [chartTypes.content]: '', [chartTypes.provenance]: '.prov' }[mediaType];
    if (ending === undefined) return [];
    return [{ key: `${name}-${version}.tgz${ending}`, digest, size, from: reader.blob(digest) }];
  });
  if (files.length === 0) throw noChart(item);
  return files;
}

function noChart({ reference }: ImageItem): MirrorError {
  return new MirrorError('E_CORRUPT', `\`${reference}\` calls itself a chart and holds none`, {
    at: { side: 'source', item: reference },
  });
}

/** A registry puts parts together; a directory of files has none. */
function inBase({ reference }: ImageItem): MirrorError {
  return new MirrorError('E_BASE_MISSING', `this delta leaves out a part of the chart \`${reference}\``, {
    hint: 'give `--charts oci://REGISTRY` where its base was imported to, or have the bundle made without `--base`',
    at: { side: 'source', item: reference },
  });
}

/** The files of each chart, for a plan. */
export async function chartFilesOf(charts: readonly ImageItem[], reader: BundleReader): Promise<ModelObject[]> {
  const layout = layoutOf(reader);
  const files: ModelObject[] = [];
  for (const item of charts)
    if (lackingOf(item, reader).length === 0) files.push(...(await chartFiles(item, reader, layout)));
  return files;
}

function lackingOf({ digests }: ImageItem, reader: BundleReader): NonNullable<ReturnType<BundleReader['find']>>[] {
  return digests.flatMap((digest) => reader.find(digest) ?? []).filter((blob) => reader.lacking(blob).length > 0);
}

/** Charts as files. */
export async function importChartFiles(
  run: ImportRun,
  charts: readonly ImageItem[],
  target: TargetState,
): Promise<void> {
  const { reader, items, receipt, media, context } = run;
  receipt.charts = [];
  const layout = layoutOf(reader);
  for (const item of charts) {
    const { reference } = item;
    context.report({ type: 'stage', text: `importing ${reference} to ${target.store.name}` });
    await attempt(items, 'chart', reference, async () => {
      media.refuse(lackingOf(item, reader), reference, reader);
      const { bytes, files } = await putFiles(run, await chartFiles(item, reader, layout), reference, target);
      receipt.charts?.push({ reference, digest: item.root.digest, files });
      noteBrought(run, { kind: 'chart', name: reference, target: `${target.store.name}/${files[0]?.path}`, bytes });
    });
  }
}
