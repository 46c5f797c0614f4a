import { fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { type Proxy, startProxy } from '../../test/real/proxy.ts';

export const largeRepo = 'bench/large';
export const largeFile = 'model.safetensors';
/** The same file, which the hub gives by Xet as well. */
export const xetRepo = 'bench/large-xet';
export const smallRepo = 'bench/small';

export interface HubPlan {
  largeBytes: number;
  /** Whether {@link xetRepo} is wanted too. */
  xet?: boolean;
  small: number;
  smallBytes: number;
}

export interface HubProcess {
  url: string;
  /** Requests since the last call, of the hub, of its content network, and of Xet where that was asked. */
  takeCounts: () => Promise<string>;
  /** Puts the hub and its content network so far away, until it stops; `url` leads there from now on. */
  moveAway: (roundTripMs: number) => Promise<Distance>;
  stop: () => Promise<void>;
}

/** What stands before the hub and before its content network. */
export interface Distance {
  hub: Proxy;
  cdn: Proxy;
}

/** Starts the hub of the tests where it does not share an event loop with the bench. */
export async function startHubProcess(plan: HubPlan): Promise<HubProcess> {
  const program = resolve(import.meta.dirname, 'hub.main.ts');
  const child = fork(program, [JSON.stringify(plan)], { execArgv: ['--import', 'tsx'] });
  // Each question waits for its answer and for the end.
  child.setMaxListeners(0);
  const proxies: Proxy[] = [];
  const ask = async <T>(question?: string | object): Promise<T> => {
    const answered = once(child, 'message') as Promise<[T]>;
    const died = once(child, 'exit').then(([code]) => Promise.reject(new Error(`the hub ended with ${String(code)}`)));
    if (question !== undefined) child.send(question);
    return (await Promise.race([answered, died]))[0];
  };
  const { url, cdnUrl } = await ask<{ url: string; cdnUrl: string }>();
  const hub: HubProcess = {
    url,
    takeCounts: async () => {
      const counts = await ask<{ hub: string; cdn: string; xet: string }>('counts');
      const xet = counts.xet === 'none' ? '' : `; Xet: ${counts.xet}`;
      return `hub: ${counts.hub}; content network: ${counts.cdn}${xet}`;
    },
    moveAway: async (roundTripMs) => {
      const before = async (address: string): Promise<Proxy> => {
        const proxy = await startProxy(`127.0.0.1:${new URL(address).port}`, { roundTripMs });
        proxies.push(proxy);
        return proxy;
      };
      const distance = { hub: await before(url), cdn: await before(cdnUrl) };
      hub.url = `http://${distance.hub.host}`;
      // Clients compare names without ports, so the content network has another name than the hub.
      await ask({ cdnAddress: `http://${distance.cdn.host.replace('127.0.0.1', 'localhost')}` });
      return distance;
    },
    stop: async () => {
      for (const proxy of proxies) await proxy.close();
      child.kill();
    },
  };
  return hub;
}
