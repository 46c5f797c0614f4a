import type { TestRegistry } from '../../support/registry.ts';
import type { CopyTool } from '../copy-tools.ts';
import type { Lab } from '../lab.ts';
import { type ComparisonRow, failureOf } from './finding.ts';
import { largeImage } from './images.ts';

/** A row about registries that send elsewhere what is written to them. */

const methods = ['POST', 'PATCH', 'PUT'] as const;

export const redirectedWrites: ComparisonRow = {
  title: 'writes redirected with 307 / 308',
  about:
    'the target answers each POST, each PATCH or each PUT, in a run of its own, with that status and the same path at another port, where it takes them',
  measure: async (tool, lab) => {
    const outcomes = await Promise.all([307, 308].map((status) => withRedirects(tool, lab, status)));
    const detail = outcomes.map((lost) => (lost.length === 0 ? 'ok' : `not ${lost.join(', ')}`)).join(' / ');
    if (outcomes.every((lost) => lost.length === 0)) return { verdict: 'ok', detail };
    return { verdict: 'fails', detail };
  },
};

/** @returns the methods of which a redirect ended the copy */
async function withRedirects(tool: CopyTool, lab: Lab, status: number): Promise<string[]> {
  const image = largeImage(200_000);
  const lost: string[] = [];
  for (const redirected of methods) {
    const source = await lab.standIn({});
    source.put('large', image, 'v1');
    const target = await redirecting(lab, redirected, status);
    const run = await lab.run(tool, { source: `${source.host}/large:v1`, target: `${target.host}/large:v1` });
    const arrived = target.manifest('large', 'v1')?.digest === image.digest;
    if (failureOf(run) || !arrived) lost.push(redirected);
  }
  return lost;
}

/** A registry that takes requests of one method at its second address only. */
async function redirecting(lab: Lab, redirected: string, status: number): Promise<TestRegistry> {
  const registry = await lab.standIn({});
  const { host } = await lab.proxy(registry.host);
  registry.server.faults = ({ method, path, headers }) =>
    method === redirected && headers.host !== host
      ? { kind: 'status', status, headers: { location: `http://${host}${path}` } }
      : undefined;
  return registry;
}
