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
import { shownEndpoint } from './doctor/bucket-access.ts';
import { checkBucket, sightOf } from './doctor/bucket.ts';
import { checkCluster, type ClusterOptions } from './doctor/cluster.ts';
import { checkGateway } from './doctor/gateway.ts';
import { Hosts } from './doctor/hosts.ts';
import { lookAt } from './doctor/not-lost.ts';
import { checkRegistry } from './doctor/registry.ts';
import { checkBundle, checkTool } from './doctor/tool.ts';
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
  for (const url of [options.gateway, ...(options.workers ?? [])]) if (url !== undefined) checkAddress(url);
  const hosts = new Hosts(context);
  const stage = (text: string): void => context.report({ type: 'stage', text });
  const given = options.receipt === undefined ? undefined : await readGiven(context.path(options.receipt));
  const findings: Finding[] = [];
  const one = (finding: Finding): Finding[] => [finding];
  let bucket = sightOf([]);
  const { bundle, gateway } = options;
  if (bundle !== undefined) findings.push(...(await lookAt('bundle', bundle, () => checkBundle(bundle, context), one)));
  const models = options.models ?? given?.targets.models;
  if (models !== undefined) {
    stage(`looking at ${models}`);
    bucket = await lookAt(
      'bucket',
      models,
      () => checkBucket(models, given, hosts, context),
      (finding) => sightOf([finding]),
    );
    findings.push(...bucket.findings);
  }
  const receipts = given ? [given] : bucket.receipts;
  const images = options.images ?? receipts.find((each) => each.targets.images !== undefined)?.targets.images;
  if (images !== undefined) {
    stage(`looking at ${images}`);
    findings.push(...(await lookAt('registry', images, () => checkRegistry(images, receipts, hosts, context), one)));
  }
  const imported = bucket.repos ?? reposOf(receipts);
  let names: Names = {};
  if (options.kubeconfig !== undefined || options.inCluster) {
    stage('looking at the cluster');
    const targets = receipts.flatMap((each) => each.images.map(({ target }) => target));
    const cluster = await lookAt(
      'cluster',
      options.kubeconfig ?? 'this one',
      () => checkCluster({ ...options, models }, { imported, images, targets }, context),
      (finding) => ({ findings: [finding], names: {} }),
    );
    findings.push(...cluster.findings);
    names = cluster.names;
  }
  if (gateway !== undefined) {
    stage(`asking ${gateway}`);
    findings.push(...(await lookAt('gateway', gateway, () => checkGateway(gateway, imported, hosts, context), one)));
  }
  const ask = async (worker: string): Promise<Finding[]> =>
    lookAt('gateway', worker, () => checkWorker(worker, imported, context), one);
  findings.push(...(await askWorkers(options.workers ?? [], ask, context)));
  findings.unshift(...(await checkTool(receipts, context)), ...hosts.clock());
  findings.push(...unseen({ ...options, models, images }));
  const { env, ca } = context;
  names = {
    ...names,
    bundle,
    bundleName: receipts[0]?.bundle.name,
    models: models ?? names.models,
    images,
    receipt: options.receipt,
    gateway,
    endpoint: shownEndpoint(env),
    hasOwnAuthorities: ca !== undefined,
  };
  const report = doctorReport(findings.map((each) => readable(each, names, context)));
  if (options.bundleReport !== undefined) await writeSupportFile(context.path(options.bundleReport), report, context);
  return report;
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
