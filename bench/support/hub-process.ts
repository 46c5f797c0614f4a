import { fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

export const largeRepo = 'bench/large';
export const smallRepo = 'bench/small';

export interface HubPlan {
  largeBytes: number;
  small: number;
  smallBytes: number;
}

export interface HubProcess {
  url: string;
  /** Requests since the last call, of the hub and of its content network. */
  takeCounts: () => Promise<string>;
  stop: () => void;
}

/** Starts the hub of the tests where it does not share an event loop with the bench. */
export async function startHubProcess(plan: HubPlan): Promise<HubProcess> {
  const program = resolve(import.meta.dirname, 'hub.main.ts');
  const child = fork(program, [JSON.stringify(plan)], { execArgv: ['--import', 'tsx'] });
  const ask = async <T>(question?: string): Promise<T> => {
    const answered = once(child, 'message') as Promise<[T]>;
    const died = once(child, 'exit').then(([code]) => Promise.reject(new Error(`the hub ended with ${String(code)}`)));
    if (question !== undefined) child.send(question);
    return (await Promise.race([answered, died]))[0];
  };
  const { url } = await ask<{ url: string }>();
  return {
    url,
    takeCounts: async () => {
      const { hub, cdn } = await ask<{ hub: string; cdn: string }>('counts');
      return `hub: ${hub}; content network: ${cdn}`;
    },
    stop: () => void child.kill(),
  };
}
