import { readFile } from 'node:fs/promises';
import { parseReceipt, type Receipt } from '../bundle/records/receipt.ts';
import type { Report } from '../core/report.ts';
import { type Finding, type Layer, notSeen } from '../doctor/finding.ts';
import { meanings, type Names, withNames } from '../doctor/names.ts';
import { withoutSecretForms, withoutValues } from '../doctor/redact.ts';
import { doctorReport } from '../doctor/report.ts';
import { checkAddress } from './places/address.ts';
import type { Context } from './context.ts';
import { writeSupportFile } from './doctor/archive.ts';
import { checkBundle } from './doctor/bundle.ts';
import { shownEndpoint } from './doctor/bucket-access.ts';
import { checkBucket, sightOf } from './doctor/bucket.ts';
import { checkCluster, type ClusterOptions, type ClusterSight } from './doctor/cluster.ts';
import { checkGateway } from './doctor/gateway.ts';
import { Hosts } from './doctor/hosts.ts';
import { lookAt } from './doctor/not-lost.ts';
import { checkRegistry } from './doctor/registry.ts';
import { checkTool } from './doctor/tool.ts';
import { askWorkers, checkWorker } from './doctor/worker.ts';

export interface DoctorOptions extends Omit<ClusterOptions, 'models'> {
  bundle?: string | undefined;
  /** `s3://BUCKET/PREFIX` or `file:///DIR` */
  models?: string | undefined;
  /** `HOST[:PORT][/PREFIX]` */
  images?: string | undefined;
  receipt?: string | undefined;
  gateway?: string | undefined;
  /** Addresses of workers. */
  workers?: readonly string[] | undefined;
  /** File for support, without secrets. */
  bundleReport?: string | undefined;
}

/**
 * Looks at everything that it is given and says which known fault it is, the most probable cause first. It reads only, and
 * asks no host but those that were given, and workers by the addresses that the gateway has for them. What stops one look
 * is a finding, and the others go on.
 * @throws E_USAGE, E_CORRUPT for a receipt that is none, E_NOT_FOUND for one that is not there
 */
export async function doctor(options: DoctorOptions, context: Context): Promise<Report> {
  const { bundle, receipt, gateway, workers = [] } = options;
  for (const url of [gateway, ...workers]) if (url !== undefined) checkAddress(url);
  const given = receipt === undefined ? undefined : await readGiven(context.path(receipt));
  const hosts = new Hosts(context);
  const ofBundle = await lookAt('bundle', bundle, (place) => checkBundle(place, context), asTheyAre);
  const models = options.models ?? given?.targets.models;
  const bucket = await lookAt('bucket', models, (place) => checkBucket(place, given, hosts, context), sightOf);
  const receipts = given ? [given] : bucket.receipts;
  const images = options.images ?? receipts.find(({ targets }) => targets.images !== undefined)?.targets.images;
  const ofRegistry = await lookAt(
    'registry',
    images,
    (place) => checkRegistry(place, receipts, hosts, context),
    asTheyAre,
  );
  const imported = bucket.repos ?? reposOf(receipts);
  const known = { imported, images, targets: receipts.flatMap((each) => each.images.map(({ target }) => target)) };
  const cluster = await lookAt(
    'cluster',
    options.kubeconfig ?? (options.inCluster ? 'this one' : undefined),
    () => checkCluster({ ...options, models }, known, context),
    (found): ClusterSight => ({ findings: found, names: {} }),
  );
  const ofGateway = await lookAt('gateway', gateway, (url) => checkGateway(url, imported, hosts, context), asTheyAre);
  const ask = (worker: string): Promise<Finding[]> =>
    lookAt('gateway', worker, (url) => checkWorker(url, imported, context), asTheyAre);
  const ofWorkers = await askWorkers(workers, ask, context);
  const findings = [
    ...(await checkTool(receipts, context)),
    ...hosts.clock(),
    ...[ofBundle, bucket.findings, ofRegistry, cluster.findings, ofGateway, ofWorkers].flat(),
    ...unseen({ ...options, models, images }),
  ];
  const names: Names = {
    ...cluster.names,
    bundle,
    bundleName: receipts[0]?.bundle.name,
    models: models ?? cluster.names.models,
    images,
    receipt,
    gateway,
    endpoint: shownEndpoint(context.env),
    hasOwnAuthorities: context.ca !== undefined,
  };
  const report = doctorReport(findings.map((each) => readable(each, names, context)));
  if (options.bundleReport !== undefined) await writeSupportFile(context.path(options.bundleReport), report, context);
  return report;
}

function asTheyAre(findings: Finding[]): Finding[] {
  return findings;
}

/** With the names of this zone, and without its secrets. */
function readable(finding: Finding, names: Names, { env }: Context): Finding {
  const clean = withoutValues(env);
  const evidence = withoutSecretForms(clean(finding.evidence));
  if (finding.fix === undefined) return { ...finding, evidence };
  const fix = withNames(finding.fix, names);
  const words = meanings(fix, names);
  return { ...finding, evidence, fix: clean(fix), ...(words.length === 0 ? {} : { words }) };
}

async function readGiven(path: string): Promise<Receipt> {
  return parseReceipt(await readFile(path), path);
}

function reposOf(receipts: readonly Receipt[]): ReadonlySet<string> | undefined {
  const repos = receipts.flatMap(({ models }) => models.map(({ repo }) => repo));
  return repos.length === 0 ? undefined : new Set(repos);
}

/** What nobody can say without being given it. */
function unseen(options: DoctorOptions): Finding[] {
  const { bundle, models, images, gateway, workers = [], kubeconfig, inCluster } = options;
  const ways: [Layer, boolean, string][] = [
    ['bundle', bundle !== undefined, '`--bundle DIR`'],
    ['bucket', models !== undefined, '`--models s3://BUCKET/PREFIX`'],
    ['registry', images !== undefined, '`--images HOST/PREFIX` and `--receipt FILE`'],
    [
      'cluster',
      kubeconfig !== undefined || inCluster === true,
      '`--kubeconfig FILE --namespace NS`, or `--in-cluster`',
    ],
    ['gateway', gateway !== undefined || workers.length > 0, '`--gateway URL`'],
  ];
  return ways
    .filter(([, isGiven]) => !isGiven)
    .map(([layer, , flag]) => notSeen(layer, layer, 'it was not given', `give ${flag}`));
}
