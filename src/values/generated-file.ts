import { sha256 } from '../core/digest.ts';
import { toolName } from '../core/version.ts';
import type { Zone } from './zone.ts';

/** A file to be written, without its header. */
export interface GeneratedFile {
  /** Relative, with `/`. */
  path: string;
  /** Whom it is for. */
  consumer: string;
  body: string;
  /** A script has its interpreter in the first line, and may be run. */
  interpreter?: string;
}

/** Stands where only the user knows what belongs there; nothing that reads it takes it for a value that works. */
export const placeholder = 'REPLACE-ME';

const marker = /^# Content (\S+); sie-mirror replaces this file only while that holds\.$/;

/** The whole text: header comments with receipt and tool, then the body. All our formats have `#` for comments. */
export function fileText({ body, interpreter }: GeneratedFile, { name, receipt }: Zone): string {
  return [
    ...(interpreter === undefined ? [] : [`#!${interpreter}`]),
    `# Written by \`sie-mirror values\` (${toolName}) from the receipt of ${name}, ${receipt}.`,
    `# Content ${sha256(Buffer.from(body))}; sie-mirror replaces this file only while that holds.`,
    body,
  ].join('\n');
}

/** Whether a file is as `sie-mirror values` once wrote it: not somebody else's, and not changed since. */
export function isUntouched(text: string): boolean {
  const all = text.split('\n');
  const at = all.findIndex((line) => marker.test(line));
  if (at < 0 || at > 2) return false;
  return marker.exec(all[at] ?? '')?.[1] === sha256(Buffer.from(all.slice(at + 1).join('\n')));
}

/** How many places of a file the user has to fill in. */
export function countPlaceholders({ body }: GeneratedFile): number {
  return body.split(placeholder).length - 1;
}
