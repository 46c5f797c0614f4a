import { MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { compilePattern } from './fnmatch.ts';
import { siePreset } from './sie-preset.ts';

export const presets = ['all', 'sie'] as const;

/** What of a repo is wanted. */
export interface Filter {
  /** `all`, or what an SIE worker would fetch. */
  preset: (typeof presets)[number];
  /** Patterns; without any, everything is. */
  include: readonly string[];
  exclude: readonly string[];
}

export const everything: Filter = { preset: 'all', include: [], exclude: [] };

/** Whether a file is wanted, and why. */
export interface Choice<T> {
  file: T;
  /** `notice`: licences and model cards, which are carried beside the snapshot where a preset keeps them out of it. */
  place: 'snapshot' | 'notice' | 'out';
  reason: string;
}

/**
 * Which files of a repo are wanted: first `include` and `exclude` as huggingface_hub's `allow_patterns` and
 * `ignore_patterns` work, then the preset.
 * https://huggingface.co/docs/huggingface_hub/guides/download#filter-files-to-download
 * @throws E_USAGE for an empty pattern
 */
export function chooseFiles<T extends { path: string }>(files: readonly T[], filter: Filter): Choice<T>[] {
  const include = filter.include.map(repoPattern);
  const exclude = filter.exclude.map(repoPattern);
  const asked = (path: string): boolean => include.some(({ matches }) => matches(path));
  const preset = filter.preset === 'sie' ? siePreset(files.map(({ path }) => path)) : undefined;
  return files.map((file) => {
    const path = file.path.replaceAll('\\', '/');
    const out = exclude.find(({ matches }) => matches(path));
    if (include.length > 0 && !asked(path)) return { file, place: 'out', reason: 'no `include` pattern fits' };
    if (out) return { file, place: 'out', reason: `\`exclude\` has \`${out.text}\`` };
    if (preset) return { file, ...preset(path, asked(path)) };
    return {
      file,
      place: 'snapshot',
      reason: include.length > 0 ? 'an `include` pattern fits' : 'all files are wanted',
    };
  });
}

/** Patterns that fit none of these paths: most of them are misspelt. */
export function idlePatterns(patterns: readonly string[], paths: readonly string[]): string[] {
  return patterns.filter((pattern) => {
    const { matches } = repoPattern(pattern);
    return !paths.some((path) => matches(path.replaceAll('\\', '/')));
  });
}

interface Pattern {
  text: string;
  matches: (path: string) => boolean;
}

/** A folder stands for what is in it; a backslash for a slash, as people on Windows write it. */
function repoPattern(text: string): Pattern {
  if (text === '')
    throw new MirrorError('E_USAGE', 'an empty pattern fits no file', { hint: 'write one such as `*.safetensors`' });
  const path = text.replaceAll('\\', '/');
  return { text: printable(text), matches: compilePattern(path.endsWith('/') ? `${path}*` : path) };
}
