import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RegistryOptions, startRegistry, type TestRegistry } from '../support/registry.ts';
import { type CommandResult, tryCommand } from './command.ts';
import { type CopyRequest, type CopyTool, homeEnvironment } from './copy-tools.ts';
import { type Proxy, type ProxyOptions, startProxy } from './proxy.ts';
import { type RealServer, startDistribution, startOlareg } from './servers.ts';
import type { Tools } from './tools.ts';

/** One run of a tool. */
export interface CopyRun extends CommandResult {
  seconds: number;
}

export interface LabOptions {
  tools: Tools;
  /** The size that faults are measured in. */
  unit: number;
  /** A tool that runs longer hangs. */
  timeoutMs: number;
}

/** A place for one measurement: servers, proxies and files that are gone with it. */
export class Lab implements AsyncDisposable {
  readonly tools: Tools;
  readonly unit: number;
  readonly directory: string;
  readonly #timeoutMs: number;
  readonly #closing: (() => Promise<unknown>)[] = [];
  #count = 0;

  private constructor(directory: string, { tools, unit, timeoutMs }: LabOptions) {
    this.directory = directory;
    this.tools = tools;
    this.unit = unit;
    this.#timeoutMs = timeoutMs;
  }

  static async open(options: LabOptions): Promise<Lab> {
    return new Lab(await mkdtemp(join(tmpdir(), 'sie-mirror-lab-')), options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing.toReversed()) await close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** A directory that is there and empty. */
  async place(name = 'place'): Promise<string> {
    this.#count += 1;
    const directory = join(this.directory, `${name}-${this.#count}`);
    await mkdir(directory);
    return directory;
  }

  async distribution(): Promise<RealServer> {
    return this.#kept(await startDistribution(await this.place('distribution')), (server) => server.stop());
  }

  async olareg(): Promise<RealServer> {
    return this.#kept(await startOlareg(await this.place('olareg')), (server) => server.stop());
  }

  /** The registry of this process, for behaviour that no real one here has. It forgives unknown requests: peers make some. */
  async standIn(options: RegistryOptions): Promise<TestRegistry> {
    return this.#kept(await startRegistry(options), (registry) => registry.close().catch(() => undefined));
  }

  async proxy(host: string, options?: ProxyOptions): Promise<Proxy> {
    return this.#kept(await startProxy(host, options), (proxy) => proxy.close());
  }

  /** Runs a tool to its end, or to the end of patience; undefined when it cannot be asked for that. */
  async run(
    tool: CopyTool,
    request: CopyRequest,
    options: { env?: Record<string, string>; onStart?: (kill: (signal: NodeJS.Signals) => void) => void } = {},
  ): Promise<CopyRun | undefined> {
    const args = tool.argumentsFor(request);
    if (!args) return undefined;
    const env = options.env ?? (await homeEnvironment(await this.place('home')));
    const started = performance.now();
    const result = await tryCommand(tool.program, args, {
      env,
      cwd: this.directory,
      timeoutMs: this.#timeoutMs,
      ...(options.onStart ? { onStart: options.onStart } : {}),
    });
    return { ...result, seconds: (performance.now() - started) / 1000 };
  }

  #kept<T>(thing: T, close: (thing: T) => Promise<unknown>): T {
    this.#closing.push(() => close(thing));
    return thing;
  }
}
