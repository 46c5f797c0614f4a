import { join } from 'node:path';
import { createContext, type Context } from '../../src/commands/context.ts';
import type { Event } from '../../src/core/events.ts';

export interface TestContext {
  context: Context;
  events: Event[];
  stop(): void;
}

/** A context for calling commands without a process of their own. */
export async function testContext(options: {
  cwd: string;
  env?: Record<string, string>;
  insecureHosts?: string[];
  retries?: number;
  ca?: string;
  hostsDir?: string;
  toolFile?: string;
  nodeVersion?: string;
  concurrency?: number | undefined;
}): Promise<TestContext> {
  const events: Event[] = [];
  const controller = new AbortController();
  const context = await createContext(
    {
      env: options.env ?? {},
      cwd: options.cwd,
      home: options.cwd,
      etc: join(options.cwd, 'etc'),
      toolFile: options.toolFile,
      report: (event) => events.push(event),
      signal: controller.signal,
      process: { pid: process.pid, isRunning: () => false },
      nodeVersion: options.nodeVersion ?? process.versions.node,
    },
    {
      insecureHosts: options.insecureHosts,
      retries: options.retries ?? 0,
      ca: options.ca,
      hostsDir: options.hostsDir,
      concurrency: options.concurrency,
    },
  );
  return { context, events, stop: () => controller.abort() };
}
