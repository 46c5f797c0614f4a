import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/commands/smoke/patience.ts';
import type { SmokeOptions } from '../../src/commands/smoke/options.ts';
import { smoke } from '../../src/commands/smoke.ts';
import type { Event } from '../../src/core/events.ts';
import { MirrorError } from '../../src/core/errors.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import { temporaryDirectory } from './place.ts';
import { type GatewayOptions, startGateway, type TestGateway } from './sie.ts';
import type { GatewayWorker } from './sie-cluster.ts';

export const smokeModel = 'BAAI/bge-m3';
export const l4Worker: GatewayWorker = {
  name: 'gpu-0',
  profile: 'l4',
  memoryTotalBytes: 24 * 2 ** 30,
  healthy: true,
  bundle: 'default',
};
export const cpuWorker: GatewayWorker = { ...l4Worker, name: 'cpu-0', profile: 'cpu', memoryTotalBytes: 0 };

/** A directory that is gone when the test has ended. */
export async function scratch(): Promise<string> {
  const place = await temporaryDirectory();
  onTestFinished(() => place[Symbol.asyncDispose]());
  return place.path;
}

/** What the command line says when no flag does. */
export const smokeDefaults = { workers: [], format: 'msgpack' } as const;

/** Goes on only while somebody sleeps, and then in a moment: no test waits, and none is hurried by a slow machine. */
export function hastyClock(): Clock {
  let now = 0;
  return {
    now: () => now,
    sleep: async (ms, signal) => {
      await sleep(5, undefined, { signal });
      now += ms;
    },
  };
}

export interface SmokeOutcome {
  report: Report | undefined;
  /** Undefined when there is a report. */
  error: MirrorError | undefined;
  notes: string[];
  gateway: TestGateway;
}

export interface SmokeSetting {
  cwd?: string;
  env?: Record<string, string>;
  /** How many models at a time. */
  concurrency?: number;
  /** Is run as soon as the gateway is there. */
  during?: (gateway: TestGateway, stop: () => void) => void;
}

/** Runs `smoke` against a gateway of its own; a request that the gateway does not know fails the test. */
export async function smokeAgainst(
  switches: Partial<GatewayOptions>,
  options: Partial<SmokeOptions> = {},
  setting: SmokeSetting = {},
): Promise<SmokeOutcome> {
  const gateway = await startGateway({ models: { [smokeModel]: { dim: 1024 } }, ...switches });
  const outside = await testContext({
    cwd: setting.cwd ?? '/',
    env: setting.env ?? {},
    concurrency: setting.concurrency,
  });
  const { context, events } = outside;
  const model = options.all === undefined ? { model: smokeModel } : {};
  try {
    setting.during?.(gateway, () => outside.stop());
    const report = await smoke(
      { ...smokeDefaults, url: gateway.url, ...model, timeout: 600, clock: hastyClock(), ...options },
      context,
    );
    return { report, error: undefined, notes: textsOf(events), gateway };
  } catch (error) {
    if (!(error instanceof MirrorError)) throw error;
    return { report: undefined, error, notes: textsOf(events), gateway };
  } finally {
    await context.close();
    await gateway.close();
  }
}

/** The report of a run that has to end well. */
export async function smokePasses(...args: Parameters<typeof smokeAgainst>): Promise<Report> {
  const { report, error } = await smokeAgainst(...args);
  if (error) throw error;
  return report as Report;
}

/** The error of a run that must not. */
export async function smokeFails(...args: Parameters<typeof smokeAgainst>): Promise<MirrorError> {
  const { error, report } = await smokeAgainst(...args);
  if (!error) throw new Error(`it passed: ${report?.summary.join('; ')}`);
  return error;
}

function textsOf(events: readonly Event[]): string[] {
  return events.flatMap((event) => ('text' in event ? [event.text] : []));
}
