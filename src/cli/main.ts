import { existsSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';
import { MirrorError, toMirrorError } from '../core/errors.ts';
import type { Reporter } from '../core/events.ts';
import type { Report } from '../core/report.ts';
import type { Outside } from '../commands/context.ts';
import { toolName, version } from '../core/version.ts';
import type { Witness } from './evidence.ts';
import { failedReport, writeOutputs } from './outputs.ts';
import type { Invocation } from './program.ts';
import { renderError, renderErrorJson, renderFailures, renderJson, renderReport } from './render.ts';
import type { ProgressKind } from './progress.ts';

/** Runs the command line of this process, and ends it with the documented exit code. */
export async function main(): Promise<never> {
  // The AWS SDK would print a warning about Node 20 into a user's terminal.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
  // A reader that has seen enough (`| head`) is no failure, and hides none.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => error.code !== 'EPIPE' && process.exit(1));
  process.stderr.on('error', () => {});
  const code = await runCommandLine(process.argv.slice(2));
  await Promise.all(
    [process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => stream.write('', () => resolve()))),
  );
  return process.exit(code);
}

async function runCommandLine(argv: readonly string[]): Promise<number> {
  // Scripts ask this often; it need not wait for the parser.
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  let invocation: Invocation | undefined;
  try {
    const { parseCommandLine } = await import('./program.ts');
    invocation = parseCommandLine(
      argv,
      (text) => process.stdout.write(text),
      (text) => process.stderr.write(text),
    );
  } catch (error) {
    const known = toMirrorError(error);
    if (known.message !== '') process.stderr.write(renderError(known, false));
    // What commander found is prose on stderr; a program that asked for JSON gets its document all the same.
    if (argv.includes('--json'))
      process.stdout.write(
        renderErrorJson(
          argv.find((word) => !word.startsWith('-')) ?? '',
          known.message === '' ? withMessageOf(known) : known,
        ),
      );
    return known.exit;
  }
  return invocation ? run(invocation) : 0;
}

function withMessageOf(error: MirrorError): MirrorError {
  const said = error.cause instanceof Error ? error.cause.message.replace(/^error: /, '') : 'the command line is wrong';
  return new MirrorError('E_USAGE', said.split('\n')[0] ?? said);
}

async function run(invocation: Invocation): Promise<number> {
  const { flags } = invocation;
  const { makeProgress } = await import('./progress.ts');
  const { createContext } = await import('../commands/context.ts');
  const kind = progressKind(flags.quiet ? 'none' : flags.progress);
  const progress = await makeProgress(kind, process.stderr, Boolean(process.env['NO_COLOR']));
  const stop = catchSignals(() => progress.stop());
  try {
    const context = await createContext(outsideOf(progress.report, stop.signal), {
      concurrency: flags.concurrency,
      retries: flags.retries,
      ca: flags.ca,
      insecureHosts: flags.insecureHost,
      hostsDir: flags.hostsDir,
    });
    try {
      const report = await invocation.run(context);
      progress.stop();
      await writeOutputs(report, invocation.outputs, witness);
      return show(report, flags.json === true);
    } finally {
      await context.close();
    }
  } catch (error) {
    progress.stop();
    if (stop.caught === undefined) return fail(toMirrorError(error), invocation);
    const hint = 'run the same command again to go on';
    await fail(new MirrorError('E_ABORTED', 'stopped', { hint, cause: error }), invocation);
    return stop.caught;
  }
}

function outsideOf(report: Reporter, signal: AbortSignal): Outside {
  return {
    env: process.env,
    cwd: process.cwd(),
    home: process.env['HOME'] ?? askSystem(homedir, '/'),
    etc: '/etc',
    toolFile: toolFile(),
    report,
    signal,
    process: { pid: process.pid, isRunning },
    nodeVersion: process.versions.node,
  };
}

/** Tells why a command ended, in every form that was asked for. @returns its exit code */
async function fail(known: MirrorError, invocation: Invocation): Promise<number> {
  const { command, flags, outputs } = invocation;
  const isVerbose = flags.verbose === true;
  process.stderr.write(renderError(known, isVerbose));
  const report = failedReport(invocation, known);
  // A file with the verdict of an earlier run must not outlive this one.
  await writeOutputs(report, outputs, witness).catch((second: unknown) => {
    const more = toMirrorError(second);
    if (more.message !== known.message) process.stderr.write(renderError(more, isVerbose));
  });
  if (flags.json) process.stdout.write(renderErrorJson(command, known, report.verdict));
  else if (report.verdict !== undefined) process.stdout.write(`${report.verdict}\n`);
  return known.exit;
}

function witness(): Witness {
  const user = askSystem(() => userInfo().username, `user ${process.getuid?.() ?? 'unknown'}`);
  return { user, host: hostname(), at: new Date().toISOString(), tool: toolName };
}

/** What the system says; containers run under numbers of which it knows neither name nor home. */
function askSystem(ask: () => string, otherwise: string): string {
  try {
    return ask();
  } catch {
    return otherwise;
  }
}

function show(report: Report, json: boolean): number {
  if (!report.summaryNamesFailures) process.stderr.write(renderFailures(report.items));
  process.stdout.write(json ? renderJson(report) : renderReport(report));
  return report.ok ? 0 : (report.exit ?? 3);
}

function progressKind(asked: ProgressKind | 'auto'): ProgressKind {
  if (asked !== 'auto') return asked;
  const { CI, TERM } = process.env;
  // Some containers give a terminal of no width, on which nothing can be drawn.
  return process.stderr.isTTY && process.stderr.columns > 0 && !CI && TERM !== 'dumb' ? 'tty' : 'plain';
}

/** The first signal stops cleanly, the second at once. */
function catchSignals(clear: () => void): { signal: AbortSignal; readonly caught: number | undefined } {
  const controller = new AbortController();
  const state: { signal: AbortSignal; caught: number | undefined } = { signal: controller.signal, caught: undefined };
  const on = (name: NodeJS.Signals, code: number): void => {
    process.on(name, () => {
      if (state.caught !== undefined) process.exit(code);
      state.caught = code;
      clear();
      process.stderr.write('stopping; again to stop at once\n');
      controller.abort();
    });
  };
  on('SIGINT', 130);
  on('SIGTERM', 143);
  return state;
}

/** A process of somebody else's answers EPERM, and runs. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The one-file form of this very program: itself, or beside the compiled sources. */
function toolFile(): string | undefined {
  const here = fileURLToPath(import.meta.url);
  if (here.endsWith('.mjs')) return here;
  return ['../sie-mirror.mjs', '../../dist/sie-mirror.mjs']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path));
}
