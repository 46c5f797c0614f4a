import { isReceiptKey, parseReceipt, type Receipt } from '../../bundle/records/receipt.ts';
import type { Digest } from '../../core/digest.ts';
import { type MirrorError, toMirrorError } from '../../core/errors.ts';
import { forEachLimited, requestsAtOnce } from '../../core/limit.ts';
import type { ObjectState, ObjectStore } from '../../core/ports.ts';
import { readAll, sha256Of } from '../../core/stream.ts';
import { plural } from '../../core/text.ts';
import { otherContent, receiptFindings } from '../../doctor/against-receipt.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from '../../doctor/finding.ts';
import { layoutFindings, repoOfFolder, type SeenModel } from '../../doctor/model-layout.ts';
import { bringModel, clusterCacheOf, importModels, restartWorkers, steps } from '../../doctor/names.ts';
import { quoted, storeCommands } from '../../doctor/shell.ts';
import { companionsNamedBy, namesCompanions } from '../../hub/selection/companions.ts';
import { repoFolder } from '../../hub/snapshot/cache.ts';
import { DirectoryStore } from '../../objects/dir.ts';
import { S3Store } from '../../objects/s3.ts';
import type { Context } from '../context.ts';
import { accessFinding, bucketReach, regionWarning, storeAddress } from './bucket-access.ts';
import type { Hosts } from './hosts.ts';
import { viewObjects } from '../places/objects.ts';

/** What was seen of the models. */
export interface BucketSight {
  findings: Finding[];
  /** `ORG/NAME` of every model; undefined when they could not be listed. */
  repos: ReadonlySet<string> | undefined;
  /** That lie with the models. */
  receipts: Receipt[];
}

/** What is left of a look that saw no models. */
export function sightOf(findings: Finding[]): BucketSight {
  return { findings, repos: undefined, receipts: [] };
}

const smallText = 64 * 1024 * 1024;
const smallConfig = 4 * 1024 * 1024;

/** Looks at the models as a worker would. @throws E_USAGE */
export async function checkBucket(
  url: string,
  given: Receipt | undefined,
  hosts: Hosts,
  context: Context,
): Promise<BucketSight> {
  context.report({ type: 'stage', text: `looking at ${url}` });
  const store = await viewObjects(context, url);
  const shut = await bucketReach(url, hosts, context);
  if (shut.some(({ verdict }) => verdict === 'fault')) return sightOf(shut);
  const look = new BucketLook(store, context);
  try {
    return await look.run(shut, given);
  } catch (error) {
    const address = storeAddress(context.env);
    const finding = accessFinding(error, store.name, address, hosts.region(address.host));
    // The refusal says more than what was seen before.
    const before = shut.filter(({ fault }) => fault !== finding.fault);
    return sightOf([...before, finding]);
  }
}

/** A model whose small files are still being read. */
type OpenModel = SeenModel & { texts: Map<string, string | undefined> };

class BucketLook {
  readonly #store: ObjectStore;
  readonly #context: Context;
  readonly #models = new Map<string, OpenModel>();
  readonly #receipts: string[] = [];

  constructor(store: ObjectStore, context: Context) {
    this.#store = store;
    this.#context = context;
  }

  async run(before: readonly Finding[], given: Receipt | undefined): Promise<BucketSight> {
    for await (const state of this.#store.list('')) this.#sort(state);
    const damaged: Finding[] = [];
    const receipts = await this.#readReceipts(damaged);
    const models = [...this.#models.values()].sort((a, b) => (a.folder < b.folder ? -1 : 1));
    const repos = new Set(models.map(({ folder }) => repoOfFolder(folder)));
    const expected = given ? [given] : receipts;
    const findings: Finding[] = [
      ...before,
      ok('bucket', 's3:ListBucket', `\`${this.#store.name}\` can be listed`),
      ...damaged,
    ];
    const region = this.#store instanceof S3Store ? this.#store.followedRegion : undefined;
    if (region !== undefined && !before.some(({ fault }) => fault === 'bucket-region'))
      findings.push(regionWarning(this.#store.name, region, this.#context.env));
    if (models.length === 0) findings.push(this.#empty(given, receipts));
    await this.#readTexts(models);
    if (models.length > 0) findings.push(ok('bucket', 's3:GetObject', 'objects can be read'));
    for (const model of models) findings.push(...layoutFindings(model, this.#store.name));
    findings.push(...(await this.#missingCompanions(models, repos)), ...this.#address());
    if (models.length > 0) findings.push(...(await this.#againstReceipts(expected)));
    return { findings, repos, receipts };
  }

  #sort({ key, size }: ObjectState): void {
    const [folder = '', ...rest] = key.split('/');
    if (isReceiptKey(key)) this.#receipts.push(key);
    if (!folder.startsWith('models--') || rest.length === 0) return;
    const model = this.#models.get(folder) ?? { folder, objects: [], texts: new Map<string, string | undefined>() };
    model.objects.push({ path: rest.join('/'), size });
    this.#models.set(folder, model);
  }

  #empty(given: Receipt | undefined, receipts: readonly Receipt[]): Finding {
    const elsewhere = [given, ...receipts].find((each) => each?.targets.models !== undefined)?.targets.models;
    const other = elsewhere !== undefined && elsewhere !== this.#store.name;
    return faultAt(
      'bucket',
      this.#store.name,
      'bucket-empty',
      `nothing here begins with \`models--\`${other ? `; the receipt says that the models are at \`${elsewhere}\`` : ''}`,
      other
        ? steps(
            `look there: sie-mirror doctor --models ${quoted(elsewhere)}`,
            `and have the workers read it: kubectl -n NAMESPACE set env WORKLOAD SIE_CLUSTER_CACHE=${quoted(clusterCacheOf(elsewhere))}`,
          )
        : importModels,
    );
  }

  async #readReceipts(findings: Finding[]): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    for (const key of this.#receipts.sort()) {
      try {
        const text = await this.#text(key, smallText);
        if (text !== undefined) receipts.push(parseReceipt(Buffer.from(text), key));
      } catch (error) {
        findings.push(this.#damaged(key, toMirrorError(error)));
      }
    }
    return receipts;
  }

  #damaged(key: string, error: MirrorError): Finding {
    if (error.exit !== 4) throw error;
    const fix = steps(storeCommands(this.#store.name).remove(key), `then, as it writes a new one: ${importModels}`);
    return faultAt('bucket', key, 'receipt-damaged', error.message, fix);
  }

  /** The files that say what a model consists of. */
  async #readTexts(models: readonly OpenModel[]): Promise<void> {
    const wanted = models.flatMap((model) =>
      model.objects
        .filter(
          ({ path, size }) => size <= smallText && (/^refs\/[^/]+$/.test(path) || /^trees\/[^/]+\.json$/.test(path)),
        )
        .map(({ path }) => ({ model, path })),
    );
    await forEachLimited(wanted, requestsAtOnce(this.#context.slots), async ({ model, path }) => {
      model.texts.set(path, await this.#text(`${model.folder}/${path}`, smallText));
    });
  }

  /** Repos that the files of a model name, and that a loader would ask the Hub for. */
  async #missingCompanions(models: readonly SeenModel[], repos: ReadonlySet<string>): Promise<Finding[]> {
    const wanted = models.flatMap(({ folder, objects }) =>
      objects
        .filter(({ path, size }) => path.startsWith('snapshots/') && size <= smallConfig && namesCompanions(path))
        .map(({ path }) => ({ folder, path })),
    );
    const found = new Map<string, Finding>();
    await forEachLimited(wanted, requestsAtOnce(this.#context.slots), async ({ folder, path }) => {
      const text = await this.#text(`${folder}/${path}`, smallConfig);
      const repo = repoOfFolder(folder);
      for (const companion of companionsNamedBy(repo, path, jsonOf(text ?? ''))) {
        if (repos.has(companion.repo)) continue;
        const evidence = `\`${repo}\` needs \`${companion.repo}\` (\`${companion.key}\` in \`${path.split('/').slice(2).join('/')}\`), which is not in \`${this.#store.name}\``;
        const fix = steps(bringModel(companion.repo), `then: ${restartWorkers}`);
        found.set(`${repo} ${companion.repo}`, faultAt('bucket', folder, 'companion-missing', evidence, fix));
      }
    });
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, finding]) => finding);
  }

  #address(): Finding[] {
    if (this.#store.name.endsWith('/models') || !this.#store.name.startsWith('s3:')) return [];
    return [
      warningAt(
        'bucket',
        this.#store.name,
        'prefix-not-models',
        'newer charts make the address of the payload store from it by replacing `/models` at its end',
        steps(
          'helm -n NAMESPACE upgrade RELEASE CHART --reuse-values --set payloadStore.enabled=false',
          'or import to an address that ends with `/models`, and name that to the workers',
        ),
      ),
    ];
  }

  async #againstReceipts(receipts: readonly Receipt[]): Promise<Finding[]> {
    const here = receipts.filter(({ models }) => models.length > 0);
    if (here.length === 0)
      return [notSeen('bucket', 'receipt', 'whether all that was imported is there', 'give `--receipt FILE`')];
    const findings: Finding[] = [];
    for (const expected of here.flatMap(({ models }) => models)) {
      const seen = this.#models.get(repoFolder(expected.repo));
      const missing = receiptFindings(expected, seen, this.#store.name);
      findings.push(...missing);
      if (missing.length === 0) findings.push(...(await this.#compareDigests(expected)));
    }
    const count = here.reduce((sum, { models }) => sum + models.length, 0);
    return findings.length > 0
      ? findings
      : [ok('bucket', 'receipt', `all ${count} imported models are there, each file with its size and digest`)];
  }

  /** The store remembers the digest of what was imported. What another tool has put there is read, if that takes no time. */
  async #compareDigests(expected: Receipt['models'][number]): Promise<Finding[]> {
    // A directory would be read from end to end.
    if (this.#store instanceof DirectoryStore) return [];
    const findings: Finding[] = [];
    let unknown = 0;
    await forEachLimited(expected.objects, requestsAtOnce(this.#context.slots), async ({ key, digest, size }) => {
      const state = await this.#store.head(key);
      const found = state?.digest ?? (size <= smallConfig ? await this.#digest(key) : undefined);
      if (found === undefined) unknown += 1;
      else if (found !== digest) findings.push(otherContent(expected, key, found, digest));
    });
    if (unknown > 0)
      findings.push(
        notSeen(
          'bucket',
          expected.repo,
          `the content of ${plural(unknown, 'object')} that another tool has put there: the size is right`,
          `${importModels} makes sure`,
        ),
      );
    return findings;
  }

  async #digest(key: string): Promise<Digest | undefined> {
    const content = await this.#store.get(key);
    return content && sha256Of(content.open(0, this.#context.signal));
  }

  async #text(key: string, limit: number): Promise<string | undefined> {
    const content = await this.#store.get(key);
    return content && (await readAll(content.open(0, this.#context.signal), limit, key)).toString('utf8');
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
