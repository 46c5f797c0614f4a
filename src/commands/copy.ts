import { forEachLimited } from '../core/limit.ts';
import { MirrorError, toMirrorError } from '../core/errors.ts';
import { bytesOf, failedItem, makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { isOtherImage } from '../oci/copy/graph.ts';
import { parsePlatform } from '../oci/platform.ts';
import { attempt } from './attempt.ts';
import type { Context } from './context.ts';
import { type CopyNames, ofList, withAdvice } from './copy/advice.ts';
import { planOne, type PlannedImage, totalOf } from './copy/dry-run.ts';
import { copyOne, type Wanted } from './copy/image.ts';
import { checkTarget, type ListOptions, type Order, readOrders } from './copy/list.ts';
import { asMeant } from './copy/meant.ts';
import { CopyPlaces } from './copy/places.ts';
import { type SourceEndpoint, viewTarget } from './places/endpoint.ts';
import type { OpenPlaces } from './places/local-source.ts';
import type { TrustOptions } from './records/sealed.ts';

export interface CopyCommandOptions extends ListOptions, TrustOptions {
  referrers: boolean;
  /** `os/architecture[/variant]`; several in one with commas. */
  platforms?: readonly string[];
  sparse?: boolean;
  includeForeign?: boolean;
  dryRun?: boolean;
}

/** What came of one image, or would come of it. */
interface Outcome {
  items: ReportItem[];
  lines: string[];
  planned?: PlannedImage;
}

/**
 * Images with everything that belongs to them, from registries and layouts to others. Of a list one that fails does not
 * stop the others.
 * @throws E_USAGE, E_NOT_FOUND; for a single image whatever its copy throws
 */
export async function copy(options: CopyCommandOptions, context: Context): Promise<Report> {
  const wanted: Wanted = {
    referrers: options.referrers,
    choice: {
      platforms: (options.platforms ?? []).flatMap((list) => list.split(',')).map(parsePlatform),
      sparse: options.sparse === true,
    },
    includeForeign: options.includeForeign === true,
  };
  const opened: OpenPlaces = new Map();
  const orders = await readOrders(options, context, opened);
  const places = new CopyPlaces(context, wanted, options, opened);
  const one = async (from: SourceEndpoint, target: string): Promise<Outcome> => {
    if (!options.dryRun) return copyOne(from, target, wanted, places, context);
    const planned = await planOne(from, target, wanted, places, context);
    return { items: planned.items, lines: planned.lines, planned };
  };
  const isList = options.fromFile !== undefined || options.allTags === true || (options.tags ?? []).length > 0;
  context.report({ type: 'stage', text: stageOf(options, orders) });
  const outcomes = isList
    ? await copyEach(orders, one, places, context)
    : [await copySingle(orders, one, places, context)];
  return summarise(outcomes, isList, options.dryRun === true);
}

async function copySingle(
  orders: readonly Order[],
  one: (from: SourceEndpoint, target: string) => Promise<Outcome>,
  places: CopyPlaces,
  context: Context,
): Promise<Outcome> {
  const [order] = orders as [Order];
  const names: CopyNames = { source: order.source };
  const work = async (): Promise<Outcome> => {
    const from = await places.source(order.source);
    names.target = order.target(from);
    return one(from, names.target);
  };
  return withAdvice(async () => asMeant(names, places, context, work), names);
}

/** One image of a list, before it goes over. */
interface Opened {
  from: SourceEndpoint;
  target: string;
  /** What it will be called there. */
  name: string;
  order: Order;
  /** Of its line in the list. */
  place: number;
}

/** Images side by side; requests and large bodies of all of them share the same slots. */
async function copyEach(
  orders: readonly Order[],
  one: (from: SourceEndpoint, target: string) => Promise<Outcome>,
  places: CopyPlaces,
  context: Context,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = orders.map(() => ({ items: [], lines: [] }));
  const opened: Opened[] = [];
  for (const [place, order] of orders.entries()) {
    const open = async (): Promise<void> => {
      const from = await places.source(order.source);
      const target = order.target(from);
      checkTarget(target);
      const { name } = await viewTarget(context, target, from);
      opened.push({ from, target, name, order, place });
    };
    await attemptOne(outcomes[place]?.items ?? [], { source: order.source }, places, context, open);
  }
  await forEachLimited(eachOnce(opened), context.slots, async ({ from, target, order, place }) => {
    context.signal.throwIfAborted();
    const outcome: Outcome = { items: [], lines: [] };
    await attemptOne(outcome.items, { source: order.source, target }, places, context, async () => {
      Object.assign(outcome, await one(from, target));
    });
    outcomes[place] = outcome;
  });
  return outcomes;
}

/** What one of many fails with says of which it speaks, and stops no other. */
async function attemptOne(
  items: ReportItem[],
  names: CopyNames,
  places: CopyPlaces,
  context: Context,
  work: () => Promise<void>,
): Promise<void> {
  await attempt(items, 'image', names.source, async () => {
    try {
      await asMeant(names, places, context, work);
    } catch (error) {
      const known = toMirrorError(error);
      const told = ofList(known, names);
      if (!isOtherImage(known)) throw told;
      items.push(failedItem('image', names.source, told));
    }
  });
}

/** What is named several times goes once. @throws E_USAGE when two images would get one name */
function eachOnce(opened: readonly Opened[]): Opened[] {
  const taken = new Map<string, Opened>();
  for (const each of opened) {
    const other = taken.get(each.name) ?? each;
    if (other.from.shown !== each.from.shown)
      throw new MirrorError(
        'E_USAGE',
        `\`${other.from.shown}\` and \`${each.from.shown}\` would both go to \`${each.name}\``,
        { hint: 'name another target for one of them in the second column of the list' },
      );
    taken.set(each.name, other);
  }
  return [...taken.values()];
}

function stageOf({ dryRun, target, source }: CopyCommandOptions, orders: readonly Order[]): string {
  const what = orders.length === 1 ? (orders[0]?.source ?? '') : plural(orders.length, 'image');
  return `${dryRun ? 'looking at' : 'copying'} ${what} to ${target ?? source ?? 'where the list says'}`;
}

function summarise(outcomes: readonly Outcome[], isList: boolean, dryRun: boolean): Report {
  const items = outcomes.flatMap((outcome) => outcome.items);
  const images = items.filter(({ kind }) => kind === 'image');
  const lines = outcomes.flatMap((outcome) => (isList ? indented(outcome.lines) : outcome.lines));
  const planned = outcomes.flatMap((outcome) => (outcome.planned ? [outcome.planned] : []));
  const failed = images.filter(({ state }) => state === 'failed').length;
  if (dryRun) {
    const total = totalOf(planned);
    if (isList)
      lines.push(
        `${plural(images.length, 'image')}${failed > 0 ? `, ${failed} of them cannot be copied` : ''}: ${formatBytes(total.bytes)} would move; nothing was written`,
      );
    return makeReport('copy', items, { images: images.length, ...total }, lines);
  }
  const copied = images.reduce((sum, { detail }) => sum + Number(detail?.['copied'] ?? 0), 0);
  const bytes = bytesOf(images);
  const present = images.filter(({ state }) => state === 'present').length;
  const lacking = new Set(items.filter(({ kind }) => kind === 'referrers').map(({ name }) => name)).size;
  if (isList)
    lines.push(
      `${plural(images.length - failed, 'image')} of ${images.length} at the target, ${present} of them as before; ${formatBytes(bytes)} moved${lacking > 0 ? `; ${lacking} INCOMPLETE, without some of what belongs to them` : ''}${failed > 0 ? `; ${failed} FAILED, run the same command again when what is said above is mended` : ''}`,
    );
  return makeReport('copy', items, { images: images.length, copied, bytes }, lines);
}

function indented([first, ...rest]: readonly string[]): string[] {
  return first === undefined ? [] : [first, ...rest.map((line) => `  ${line}`)];
}
