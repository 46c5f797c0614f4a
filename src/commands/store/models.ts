import { readFile } from 'node:fs/promises';
import { MirrorError } from '../../core/errors.ts';
import { limitTo } from '../../core/limit.ts';
import { failedItem, type ReportItem } from '../../core/report.ts';
import { metadataLimit, readVerified } from '../../core/stream.ts';
import { printable } from '../../core/text.ts';
import type { HubFailure } from '../../hub/access/failure.ts';
import { everything, type Filter } from '../../hub/selection/filter.ts';
import { companionsNamedBy, filesWanted, namesCompanions } from '../../hub/selection/companions.ts';
import type { RepoFile, RepoRequest } from '../../hub/repo.ts';
import { patternOf } from '../../hub/selection/fnmatch.ts';
import { twinsAmong } from '../../hub/names.ts';
import { cacheOf } from '../../hub/places.ts';
import { type Naming, planSnapshot, type SnapshotPlan } from '../../hub/snapshot/snapshot-plan.ts';
import { parsePythonJson } from '../../hub/python-json.ts';
import { isOn } from '../../hub/access/token.ts';
import type { LockedModel } from '../../manifest/schema.ts';
import { attempt } from '../attempt.ts';
import type { Context } from '../context.ts';
import { bothParts, heldElsewhere, type PlannedModel, uniteCommits, withHeld } from './model-parts.ts';

/** A repo that is wanted, and what of it. */
export interface ModelRequest extends RepoRequest {
  filter: Filter;
  /** Also what its own files name, and what those name. */
  companions: boolean;
  namedBy?: Naming[];
}

/** What is there before a run. */
export interface StoreBefore {
  store?: string;
  /** The repos of its lock. */
  held: readonly LockedModel[];
}

export interface ModelPlans {
  models: PlannedModel[];
  /** Small files that were read to find companions, by the hash that the hub declares. */
  read: Map<string, Buffer>;
}

/** Companions of companions end somewhere; a hostile repo could name ever more of them. */
const maxDepth = 8;
const maxCompanions = 200;

/** Whether the store keeps links; the same switch as that of huggingface_hub. */
export function wantsSymlinks(context: Context): boolean {
  return !isOn(context.env['HF_HUB_DISABLE_SYMLINKS']);
}

function modelName({ repo, revision }: RepoRequest): string {
  return `${repo}@${revision}`;
}

/**
 * Pins repos and, where it is wanted, their companions. What fails becomes an item, gated repos that stay shut included:
 * all gates are tried at once, before anything is fetched.
 * @param before the store so far, from which small files are read instead of from the hub, and where companions take nothing away
 * @throws E_CORRUPT for companions of companions without end
 */
export async function planModels(
  requests: readonly ModelRequest[],
  items: ReportItem[],
  context: Context,
  before: StoreBefore = { held: [] },
): Promise<ModelPlans> {
  const done = new Map<string, PlannedModel>();
  const asked = new Map<string, ModelRequest[]>();
  const read = new Map<string, Buffer>();
  let level = [...requests];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxDepth || asked.size > requests.length + maxCompanions)
      throw new MirrorError('E_CORRUPT', `the repos name companions of companions without end`, {
        hint: 'run it without companions, and name the repos that are wanted',
        at: { side: 'source', item: level[0]?.repo ?? '' },
      });
    const fresh = level.filter((request) => isNew(request, asked));
    const planned = await planLevel(fresh, items, context);
    const next: ModelRequest[] = [];
    for (const [request, model] of planned) {
      const other = done.get(keyOf(request));
      done.set(keyOf(request), other ? bothParts(other, model) : model);
      next.push(...heldElsewhere(model.plan, before.held).map(requestOf));
      if (request.companions) next.push(...(await companionRequests(request, model.plan, read, context, before.store)));
    }
    level = next;
  }
  return { models: uniteCommits(withHeld([...done.values()], before.held)), read };
}

function requestOf({ type, repo, revision, filter = everything, namedBy }: LockedModel): ModelRequest {
  return { type, repo, revision, filter, companions: false, ...(namedBy ? { namedBy: [...namedBy] } : {}) };
}

function keyOf({ type, repo, revision }: RepoRequest): string {
  return `${type} ${repo}@${revision}`;
}

/** What was asked for as a whole need not be asked for in part. */
function isNew(request: ModelRequest, asked: Map<string, ModelRequest[]>): boolean {
  const key = keyOf(request);
  const before = asked.get(key) ?? [];
  const covering = before.find(({ filter }) => filter.include.length === 0 || sameFilter(filter, request.filter));
  if (!covering) asked.set(key, [...before, request]);
  else if (covering.namedBy && request.namedBy) covering.namedBy.push(...request.namedBy);
  return covering === undefined;
}

function sameFilter(one: Filter, other: Filter): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Lists repos side by side, then tries all gates among them. */
async function planLevel(
  requests: readonly ModelRequest[],
  items: ReportItem[],
  context: Context,
): Promise<[ModelRequest, PlannedModel][]> {
  const hub = context.hub();
  const limit = limitTo(context.slots);
  const listed = await Promise.all(
    requests.map((request) =>
      limit(async () => {
        const failed: ReportItem[] = [];
        let model: PlannedModel | undefined;
        context.report({ type: 'stage', text: `listing ${modelName(request)}` });
        await attempt(failed, request.type, modelName(request), async () => {
          model = await planSnapshot(hub, request, request.filter);
          if (request.namedBy) model.plan.namedBy = request.namedBy;
          warnOfTwins(model.plan, context);
          const { canonical } = model.plan;
          if (canonical !== request.repo)
            context.report({
              type: 'note',
              text: `\`${request.repo}\` is called \`${printable(canonical)}\` on the hub now`,
            });
        });
        return { request, model, failed };
      }),
    ),
  );
  for (const { request, failed } of listed) items.push(...failed.map((item) => withNaming(item, request.namedBy)));
  const open = listed.flatMap(({ request, model }) =>
    model ? [[request, model] as [ModelRequest, PlannedModel]] : [],
  );
  const shut = await probeGates(
    open.map(([, { plan }]) => plan),
    items,
    context,
  );
  return open.filter(([, { plan }]) => !shut.has(plan));
}

/** It can be fetched and read where it is, but what it is fetched for ends early. */
function warnOfTwins({ repo, files, notices = [] }: SnapshotPlan, { report }: Context): void {
  for (const among of [files, notices]) {
    const [one, other] = twinsAmong(among.map(({ path }) => path)) ?? [];
    if (one === undefined || other === undefined) continue;
    const text = `\`${printable(one)}\` and \`${printable(other)}\` of \`${repo}\` are one file on some file systems: no bundle carries both; leave one out with \`--exclude '${patternOf(other)}'\``;
    report({ type: 'warning', text });
  }
}

function withNaming(item: ReportItem, namedBy: Naming[] | undefined): ReportItem {
  return namedBy === undefined ? item : { ...item, detail: { ...item.detail, namedBy } };
}

/** Asks for all gated repos at once whether they may be read. @returns those that may not; each is an item and a warning */
export async function probeGates(
  plans: readonly SnapshotPlan[],
  items: ReportItem[],
  context: Context,
): Promise<Set<SnapshotPlan>> {
  const hub = context.hub();
  const limit = limitTo(context.slots);
  const gated = plans.filter(({ gated }) => gated);
  const failures = await Promise.all(
    gated.map(async (plan): Promise<[SnapshotPlan, HubFailure | undefined]> => [
      plan,
      // Under a former name a hub answers with the present one before it looks at the gate.
      await limit(() => hub.probe({ type: plan.type, repo: plan.canonical }, plan.commit, smallestFile(plan.files))),
    ]),
  );
  const shut = new Set<SnapshotPlan>();
  for (const [plan, failure] of failures) {
    if (!failure) continue;
    shut.add(plan);
    const detail = failure.gate === undefined ? {} : { detail: { access: failure.gate } };
    items.push(withNaming({ ...failedItem(plan.type, modelName(plan), failure.error), ...detail }, plan.namedBy));
    context.report({ type: 'warning', text: failure.error.message });
  }
  return shut;
}

/** A model card may be open where the rest is not; an empty file has no first byte to ask for. */
function smallestFile(files: readonly RepoFile[]): RepoFile {
  const bySize = [...files].sort((a, b) => a.size - b.size);
  const telling = bySize.filter(({ path }) => !/^(?:README|\.gitattributes)/i.test(path));
  const [file] = [...telling.filter(({ size }) => size > 0), ...telling, ...bySize];
  if (!file) throw new MirrorError('E_INTERNAL', 'a snapshot without files was planned');
  return file;
}

async function companionRequests(
  { filter }: ModelRequest,
  plan: SnapshotPlan,
  read: Map<string, Buffer>,
  context: Context,
  store: string | undefined,
): Promise<ModelRequest[]> {
  const requests: ModelRequest[] = [];
  for (const file of plan.files.filter(({ path }) => namesCompanions(path))) {
    if (file.size > metadataLimit) {
      context.report({
        type: 'warning',
        text: `\`${plan.repo}/${file.path}\` is too large to be searched for companions`,
      });
      continue;
    }
    const { hex } = file.checksum;
    const bytes =
      read.get(hex) ?? (await readStored(plan, file, store)) ?? (await readRemote(plan, file, read, context));
    for (const found of companionsNamedBy(plan.repo, file.path, parsed(bytes)))
      requests.push({
        type: 'model',
        repo: found.repo,
        revision: found.revision,
        filter: { preset: filter.preset, include: filesWanted(found), exclude: [] },
        companions: true,
        namedBy: [{ repo: plan.repo, file: file.path, key: found.key }],
      });
  }
  return requests;
}

/** What no loader can read names nothing. */
function parsed(bytes: Buffer): unknown {
  try {
    return parsePythonJson(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

async function readStored(plan: SnapshotPlan, file: RepoFile, store: string | undefined): Promise<Buffer | undefined> {
  const path = store === undefined ? undefined : await cacheOf(store, plan, true).find(plan.commit, file);
  return path === undefined ? undefined : readFile(path);
}

/** Kept, so that it is not fetched twice. */
async function readRemote(
  plan: SnapshotPlan,
  file: RepoFile,
  read: Map<string, Buffer>,
  context: Context,
): Promise<Buffer> {
  const expected = { size: file.size, checksum: file.checksum, item: `${plan.repo}/${file.path}` };
  const bytes = await readVerified(context.hub().content(plan, plan.commit, file), expected, context.signal);
  read.set(file.checksum.hex, bytes);
  return bytes;
}
