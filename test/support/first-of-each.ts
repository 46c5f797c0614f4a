import type { Fault, FaultPlan } from './server.ts';

/** Damages the first requests that match, each path for itself. */
export function firstOfEach(pattern: RegExp, faults: readonly Fault[]): FaultPlan {
  const seen = new Map<string, number>();
  return ({ method, path }) => {
    const [route = '', query = ''] = path.split('?');
    // Each try of an upload has an address of its own; what it is for stands in the query.
    const place = `${method} ${/digest=([^&]+)/.exec(query)?.[1] ?? route}`;
    if (!pattern.test(`${method} ${route}`)) return undefined;
    const times = seen.get(place) ?? 0;
    seen.set(place, times + 1);
    return faults[times];
  };
}
