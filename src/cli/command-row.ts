import type { Context } from '../commands/context.ts';
import type { MirrorError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';

/** A flag as `--help` shows it. */
export interface Flag {
  flags: string;
  text: string;
  parse?: (value: string, before: unknown) => unknown;
  fallback?: unknown;
  required?: boolean;
  choices?: readonly string[];
}

/** What a report names: the test of a JUnit file. */
export interface Subject {
  kind: string;
  name: string;
}

/** One row of the table of commands. A command is loaded when it runs: `--help` must not wait for it. */
export interface CommandRow {
  usage: string;
  text: string;
  flags: readonly Flag[];
  examples: readonly string[];
  /** Looks at the words together before anything is done or written. @throws E_USAGE */
  check?: (args: readonly string[], flags: Record<string, unknown>) => void;
  /** What a run is about that comes to nothing; the command itself when undefined. */
  subject?: (flags: Record<string, unknown>, args: readonly string[]) => Subject | undefined;
  /** What is said of it then, in the word that a run to the end would have said. */
  verdict?: (error: MirrorError) => string;
  run: (args: string[], flags: Record<string, unknown>, context: Context) => Promise<Report>;
}
