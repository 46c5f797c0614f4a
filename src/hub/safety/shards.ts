import { posix } from 'node:path';
import { parsePythonJson } from '../python-json.ts';

/** Whether a file says in which others the tensors of a model are. https://huggingface.co/docs/safetensors/metadata_parsing */
export function isShardIndex(path: string): boolean {
  return /\.(?:safetensors|bin)\.index\.json$/.test(path);
}

/**
 * The shards that an index names and that are not there while others of it are: a loader fails at the first of them. One
 * of whose shards none is there was not wanted.
 * @param paths what is there
 */
export function missingShards(index: string, text: string, paths: ReadonlySet<string>): string[] {
  const named = new Set(shardsIn(text).map((name) => posix.join(posix.dirname(index), name)));
  const missing = [...named].filter((path) => !paths.has(path));
  return missing.length < named.size ? missing.sort() : [];
}

function shardsIn(text: string): string[] {
  let index: unknown;
  try {
    index = parsePythonJson(text);
  } catch {
    return [];
  }
  const map = typeof index === 'object' && index !== null && 'weight_map' in index ? index.weight_map : undefined;
  const names: unknown[] = typeof map === 'object' && map !== null ? Object.values(map) : [];
  return names.filter((name) => typeof name === 'string');
}
