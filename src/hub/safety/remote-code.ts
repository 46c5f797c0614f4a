import { posix } from 'node:path';
import { printable } from '../../core/text.ts';
import * as z from '../../core/zod.ts';
import { codeNamesIn } from '../code-names.ts';
import { parsePythonJson } from '../python-json.ts';

export const remoteCodeSchema = z.strictObject({
  files: z.array(
    z.strictObject({
      path: z.string(),
      sha256: z.string(),
      /** A configuration of the repo, or code that one refers to, leads here: loaders run it when they are allowed to. */
      isReferred: z.boolean(),
    }),
  ),
  references: z.array(
    z.strictObject({
      file: z.string(),
      key: z.string(),
      value: z.string(),
      /** Another repo, when the code stands there. */
      repo: z.string().optional(),
    }),
  ),
  /** Configurations that are too large to be looked through: they may lead to code. */
  unread: z.array(z.string()).optional(),
});

export type RemoteCode = z.infer<typeof remoteCodeSchema>;
export type CodeReference = RemoteCode['references'][number];

/** Whether a file is Python code. */
export function isCodeFile(path: string): boolean {
  return /\.pyi?$/i.test(path);
}

/** Whether a file is a configuration that can name code. */
export function isCodeConfig(path: string): boolean {
  return /(?:config|^modules|\/modules|model_index)\.json$/i.test(path);
}

/** Transformers runs it with a model that it may run code of. https://huggingface.co/docs/transformers/generation_strategies#custom-generation-methods */
const customGenerate = 'custom_generate/generate.py';

/**
 * The code that a configuration tells loaders to run: what {@link codeNamesIn} finds, and modules of sentence-transformers
 * that are not its own, also behind a router. What is no JSON refers to nothing.
 */
export function referencesIn(file: string, text: string): CodeReference[] {
  let config: unknown;
  try {
    config = parsePythonJson(text);
  } catch {
    return [];
  }
  const modules = Array.isArray(config)
    ? config.flatMap((item, index) => (isObject(item) ? moduleTypes(file, `${index}.type`, item['type']) : []))
    : routedTypes(file, config);
  return [...modules, ...codeNamesIn(config).map(({ key, value }) => reference(file, key, value))];
}

function moduleTypes(file: string, key: string, value: unknown): CodeReference[] {
  return texts(value)
    .filter((type) => !/^(?:sentence_transformers|transformers|torch)\./.test(type))
    .map((type) => reference(file, key, type));
}

/** What a router of sentence-transformers takes its parts for. https://sbert.net/docs/package_reference/sentence_transformer/models.html */
function routedTypes(file: string, config: unknown): CodeReference[] {
  if (!isObject(config) || !isObject(config['structure']) || !isObject(config['types'])) return [];
  return Object.entries(config['types']).flatMap(([name, type]) => moduleTypes(file, `types.${printable(name)}`, type));
}

/** `ORG/NAME--module.Class` stands in another repo. */
function reference(file: string, key: string, value: string): CodeReference {
  const [repo = '', rest] = value.split('--', 2);
  return rest === undefined ? { file, key, value } : { file, key, value, repo };
}

function texts(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((item): item is string => typeof item === 'string');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The code files that references lead to, also by what they import of each other.
 * @param code text of each code file by its path
 */
export function referredFiles(references: readonly CodeReference[], code: ReadonlyMap<string, string>): Set<string> {
  const found = new Set<string>();
  const open = references
    .filter(({ repo }) => repo === undefined)
    .flatMap(({ file, value }) => filesOf(posix.dirname(file), value.split('.').slice(0, -1)))
    .concat(customGenerate);
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = code.get(path);
    if (text === undefined || found.has(path)) continue;
    found.add(path);
    open.push(...importedBy(path, text));
  }
  return found;
}

function filesOf(directory: string, parts: readonly string[]): string[] {
  const path = posix.normalize(posix.join(directory, ...parts));
  return [`${path}.py`, posix.join(path, '__init__.py')];
}

/** `from .a.b import c`, `from . import c`: modules beside it, or in it. */
function importedBy(path: string, text: string): string[] {
  return [...text.matchAll(/^[ \t]*from[ \t]+(\.+)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)/gm)].flatMap(
    ([, dots = '.', module = '', names = '']) => {
      const directory = posix.join(posix.dirname(path), ...Array.from({ length: dots.length - 1 }, () => '..'));
      const parts = module.split('.').filter((part) => part !== '');
      const words = names.match(/\w+/g) ?? [];
      return [...filesOf(directory, parts), ...words.flatMap((word) => filesOf(directory, [...parts, word]))];
    },
  );
}
