import { setTimeout as sleep } from 'node:timers/promises';
import { filesBelow } from '../../support/place.ts';
import type { FaultPlan } from '../../support/server.ts';
import { waitFor } from '../../support/wait.ts';
import type { BuiltImage } from '../../support/images.ts';
import type { CopyTool } from '../copy-tools.ts';
import type { CopyRun, Lab } from '../lab.ts';
import type { Proxy, ProxyFault } from '../proxy.ts';
import { pushImage } from '../seed.ts';
import { type ComparisonRow, digestAt, failureOf, type Finding, timesText } from './finding.ts';
import { contentBytes, largeImage } from './images.ts';

/** Rows about networks that fail. */

interface Route {
  image: BuiltImage;
  bytes: number;
  source: Proxy;
  target: Proxy;
  copy: () => Promise<CopyRun | undefined>;
  /** What is left to say when the tool ended well. */
  arrived: () => Promise<boolean>;
}

/** A large image on a distribution registry, and an empty one, each behind a proxy. */
async function openRoute(
  tool: CopyTool,
  lab: Lab,
  faults: { source?: ProxyFault; target?: ProxyFault },
  layerBytes = 2 * lab.unit,
): Promise<Route> {
  const image = largeImage(layerBytes);
  const [from, to] = [await lab.distribution(), await lab.distribution()];
  await pushImage(from.host, 'large', image, 'v1');
  const source = await lab.proxy(from.host, faults.source ? { fault: faults.source } : {});
  const target = await lab.proxy(to.host, faults.target ? { fault: faults.target } : {});
  return {
    image,
    bytes: contentBytes(image),
    source,
    target,
    copy: () => lab.run(tool, { source: `${source.host}/large:v1`, target: `${target.host}/large:v1` }),
    arrived: async () => (await digestAt(to.host, 'large', 'v1')) === image.digest,
  };
}

async function verdictOf(run: CopyRun | undefined, route: Route, detail: string): Promise<Finding> {
  const failure = failureOf(run, detail);
  if (failure) return failure;
  return { verdict: (await route.arrived()) ? 'ok' : 'partly', detail };
}

function cutRow(how: 'reset' | 'end', text: string): ComparisonRow {
  return {
    title: `source cut again and again (${text}): bytes`,
    about: `six layers of two units each; the source's every connection ends with a ${text} after one unit, when the client has received what was sent`,
    measure: async (tool, lab) => {
      const route = await openRoute(tool, lab, { source: { way: 'down', afterBytes: lab.unit, how } });
      const run = await route.copy();
      const moved = timesText(route.source.bytesDown(), route.bytes);
      const finding = await verdictOf(run, route, moved);
      // What goes on where it stopped moves every byte once.
      const wasteful = finding.verdict === 'ok' && route.source.bytesDown() > 1.05 * route.bytes;
      return wasteful ? { verdict: 'partly', detail: moved } : finding;
    },
  };
}

export const cutByReset = cutRow('reset', 'RST');
export const cutByEnd = cutRow('end', 'FIN');

export const droppedUploads: ComparisonRow = {
  title: 'two uploads dropped',
  about: 'the first two connections on which a quarter of a unit went to the target end with a RST',
  measure: async (tool, lab) => {
    const fault: ProxyFault = { way: 'up', afterBytes: Math.round(lab.unit / 4), how: 'reset', times: 2 };
    const route = await openRoute(tool, lab, { target: fault });
    return verdictOf(await route.copy(), route, '');
  },
};

export const stalledSource: ComparisonRow = {
  title: 'stalled source',
  about: 'the first connection that brought half a unit from the source goes silent and stays open; later ones work',
  measure: async (tool, lab) => {
    const fault: ProxyFault = { way: 'down', afterBytes: Math.round(lab.unit / 2), how: 'stall', times: 1 };
    const route = await openRoute(tool, lab, { source: fault });
    const run = await route.copy();
    return verdictOf(run, route, run && !run.timedOut ? `${run.seconds.toFixed(0)} s` : '');
  },
};

export const killedInLayout: ComparisonRow = {
  title: '`kill -9` at half into a layout: bytes of the second run',
  about:
    'six layers of four units each; at the half of all bytes the source stalls, the tool is killed and started again; files that stay behind are counted (what is still in memory is lost, so small images lose more: sie-mirror took 0.53x to 0.58x of 12 to 50 MB)',
  measure: async (tool, lab) => {
    const route = await openRoute(tool, lab, {}, 4 * lab.unit);
    const half = Math.round(route.bytes / 2);
    route.source.setFault({ way: 'down', of: 'all', afterBytes: half, how: 'stall' });
    const request = {
      source: `${route.source.host}/large:v1`,
      target: { layout: `${await lab.place('layouts')}/layout`, name: 'v1' },
    };
    const run = lab.run(tool, request, {
      onStart: (kill) => {
        void waitFor('half of the bytes have passed', () => route.source.bytesDown() >= half)
          .then(() => route.source.drained())
          .then(() => sleep(1000))
          .finally(() => kill('SIGKILL'));
      },
    });
    await run;
    route.source.setFault(undefined);
    route.source.takeBytesDown();
    const again = await lab.run(tool, request);
    const moved = route.source.takeBytesDown();
    const known = route.image.blobs.size + ['the manifest', 'index.json', 'oci-layout'].length;
    const litter = (await filesBelow(request.target.layout)).length - known;
    const detail = `${timesText(moved, route.bytes)}${litter > 0 ? `, ${litter} files of the first run stay` : ''}`;
    const failure = failureOf(again, detail);
    if (failure) return failure;
    return { verdict: moved <= 0.55 * route.bytes && litter <= 0 ? 'ok' : 'partly', detail };
  },
};

export const refusals: ComparisonRow = {
  title: '429 with Retry-After / 503',
  about:
    'source and target refuse the first request to each address, with 429 and `Retry-After: 2`, or with 503; obeying means that the same request does not come again before the two seconds are over; requests for other content may, and the address at which all uploads begin is not counted',
  measure: async (tool, lab) => {
    const limited = await refusedOnce(tool, lab, 429);
    const broken = await refusedOnce(tool, lab, 503);
    const detail = `${limited} / ${broken}`;
    if (limited === 'ok' && broken === 'ok') return { verdict: 'ok', detail };
    return { verdict: [limited, broken].includes('fails') ? 'fails' : 'partly', detail };
  },
};

const waitSeconds = 2;

async function refusedOnce(
  tool: CopyTool,
  lab: Lab,
  status: 429 | 503,
): Promise<'ok' | 'fails' | 'ignores it' | 'hangs'> {
  const image = largeImage(1000);
  const refused = new Map<string, number>();
  let early = 0;
  const plan =
    (side: string): FaultPlan =>
    ({ method, path }) => {
      // Each upload has an address of its own, and what asks for the version is no transfer.
      if (path === '/v2/' || /uploads\/./.test(path)) return undefined;
      const key = `${side} ${method} ${path}`;
      const since = refused.get(key);
      if (since === undefined) {
        refused.set(key, performance.now());
        const headers: Record<string, string> = status === 429 ? { 'retry-after': String(waitSeconds) } : {};
        return { kind: 'status', status, headers };
      }
      // All uploads begin at the same address: those that come soon may be of other blobs.
      const isEarly = status === 429 && performance.now() - since < waitSeconds * 1000 - 100;
      if (isEarly && method !== 'POST') early += 1;
      return undefined;
    };
  const source = await lab.standIn({ faults: plan('source') });
  const target = await lab.standIn({ faults: plan('target') });
  source.put('large', image, 'v1');
  const run = await lab.run(tool, { source: `${source.host}/large:v1`, target: `${target.host}/large:v1` });
  if (run?.timedOut === true) return 'hangs';
  if (run?.code !== 0 || target.manifest('large', 'v1')?.digest !== image.digest) return 'fails';
  return early > 0 ? 'ignores it' : 'ok';
}

export const hopelessSource: ComparisonRow = {
  title: 'source too broken to go on: the error names it',
  about:
    'every connection to the source ends with a RST after 48 KiB; the last line that tells of an error has to name the source and not the target',
  measure: async (tool, lab) => {
    const route = await openRoute(tool, lab, {
      source: { way: 'down', afterBytes: 48 * 1024, how: 'reset' },
    });
    const run = await route.copy();
    if (!run || run.timedOut || run.code === 0)
      return failureOf(run) ?? { verdict: 'partly', detail: 'says that all went well' };
    // Lines before the last error are progress and warnings; a line after it is advice.
    const lines = `${run.stdout}${run.stderr}`.trim().split('\n');
    const said = lines.findLast((line) => /\berror\b|\bfatal\b/i.test(line)) ?? lines.at(-1) ?? '';
    const blamed = [said.includes(route.source.host), said.includes(route.target.host)];
    if (blamed[0] === true && blamed[1] === false) return { verdict: 'ok', detail: '' };
    return { verdict: 'partly', detail: blamed[1] === true ? 'names the target' : 'names neither' };
  },
};
