import type { Choice, Filter } from '../../hub/selection/filter.ts';
import type { RepoFile } from '../../hub/repo.ts';
import type { Naming, SnapshotPlan } from '../../hub/snapshot/snapshot-plan.ts';
import type { LockedModel } from '../../manifest/schema.ts';

/** A repo as it will be fetched. */
export interface PlannedModel {
  plan: SnapshotPlan;
  choices: Choice<RepoFile>[];
}

/** One revision that was planned twice, for different parts of it; the later listing counts when the branch has moved between them. */
export function bothParts(one: PlannedModel, other: PlannedModel): PlannedModel {
  const { namedBy: _, ...later } = other.plan;
  // Who names a repo is told in one list, that later namings go into as well; who asked for it by name is nobody's companion.
  const isNamed = one.plan.namedBy !== undefined && other.plan.namedBy !== undefined;
  if (isNamed) one.plan.namedBy?.push(...(other.plan.namedBy ?? []));
  const namedBy = isNamed ? { namedBy: one.plan.namedBy } : {};
  if (one.plan.commit !== other.plan.commit) return { ...other, plan: { ...later, ...namedBy } };
  const before = new Map(one.choices.map((choice) => [choice.file.path, choice]));
  const choices = other.choices.map((choice) => better(before.get(choice.file.path), choice));
  return { plan: { ...united(later, [one.plan, other.plan]), ...namedBy }, choices };
}

const ranks = { snapshot: 0, notice: 1, out: 2 } as const;

function better(one: Choice<RepoFile> | undefined, other: Choice<RepoFile>): Choice<RepoFile> {
  return one && ranks[one.place] <= ranks[other.place] ? one : other;
}

/** Several revisions may be one commit, of which there is one snapshot: it gets what any of them wants. */
export function uniteCommits(models: readonly PlannedModel[]): PlannedModel[] {
  const commits = new Map<string, SnapshotPlan[]>();
  const nameOf = ({ type, repo, commit }: SnapshotPlan): string => `${type} ${repo}@${commit}`;
  for (const { plan } of models) commits.set(nameOf(plan), [...(commits.get(nameOf(plan)) ?? []), plan]);
  return models.map((model) => {
    const same = commits.get(nameOf(model.plan)) ?? [];
    return same.length < 2 ? model : { ...model, plan: united(model.plan, same) };
  });
}

/**
 * Companions with what the store holds of them already: somebody else has asked for that, and it stays. Of what was asked for by
 * name an earlier run's part is not wanted any more.
 */
export function withHeld(models: readonly PlannedModel[], held: readonly LockedModel[]): PlannedModel[] {
  return models.map(({ plan, choices }) => {
    const before = plan.namedBy === undefined ? [] : held.filter((model) => isSameRepo(model, plan));
    const same = before.filter(({ commit }) => commit === plan.commit);
    if (same.length === 0) return { plan, choices };
    const { namedBy: _, ...rest } = united(plan, [plan, ...same]);
    const namings = [plan, ...same].map(({ namedBy }) => namedBy);
    const namedBy = namings.every((each) => each !== undefined) ? { namedBy: distinct(namings.flat()) } : {};
    const kept = new Set(same.flatMap(({ files }) => files).map(({ path }) => path));
    const reason = 'the store has it, for somebody else';
    return {
      plan: { ...rest, ...namedBy },
      choices: choices.map((choice) =>
        kept.has(choice.file.path) ? better(choice, { ...choice, place: 'snapshot', reason }) : choice,
      ),
    };
  });
}

function distinct(namings: readonly Naming[]): Naming[] {
  return [...new Map(namings.map((each) => [JSON.stringify([each.repo, each.file, each.key]), each])).values()];
}

/**
 * What the store holds of a companion's repo at other commits, and would lose by it: the branch has moved since, or
 * `refs/main` would lead away from it.
 */
export function heldElsewhere(plan: SnapshotPlan, held: readonly LockedModel[]): LockedModel[] {
  return held.filter(
    (model) =>
      plan.namedBy !== undefined &&
      isSameRepo(model, plan) &&
      model.commit !== plan.commit &&
      (model.revision === plan.revision || model.revision === 'main'),
  );
}

function isSameRepo(one: Pick<SnapshotPlan, 'type' | 'repo'>, other: Pick<SnapshotPlan, 'type' | 'repo'>): boolean {
  return one.type === other.type && one.repo === other.repo;
}

type Part = Pick<SnapshotPlan, 'files' | 'notices' | 'filter'>;

function united(plan: SnapshotPlan, same: readonly Part[]): SnapshotPlan {
  const { filter: _, notices: __, ...rest } = plan;
  const files = new Map(same.flatMap((each) => each.files).map((file) => [file.path, file]));
  const notices = new Map(same.flatMap((each) => each.notices ?? []).map((file) => [file.path, file]));
  for (const path of files.keys()) notices.delete(path);
  const filter = unitedFilter(same.map((each) => each.filter));
  return {
    ...rest,
    ...(filter === undefined ? {} : { filter }),
    files: [...files.values()],
    ...(notices.size > 0 ? { notices: [...notices.values()] } : {}),
  };
}

/** As far as one filter can say what several mean; the files count. Undefined for all of a repo. */
function unitedFilter(filters: readonly (Filter | undefined)[]): Filter | undefined {
  const known = filters.filter((filter) => filter !== undefined);
  const [first] = known;
  if (first === undefined || known.length < filters.length) return undefined;
  const widest = known.find(({ include }) => include.length === 0);
  return widest ?? { ...first, include: [...new Set(known.flatMap(({ include }) => include))] };
}
