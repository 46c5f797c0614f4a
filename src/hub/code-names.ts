import { printable } from '../core/text.ts';

/** A text of a configuration that names code: `module.Class` or `ORG/NAME--module.Class`. */
export interface CodeName {
  /** Path of the key in the file, with dots; the places in a list are not told apart. */
  key: string;
  value: string;
}

/** What stands at a place: code by its name, a map or list of such, or the pipelines among which some is named. */
type Place = 'plain' | 'code' | 'map' | 'pipelines' | 'pipeline';

/**
 * What of a configuration names code: `auto_map`, whose values are texts, lists or maps of them, for tokenizers of old it is a
 * list itself; and `impl` of `custom_pipelines`. Parts of a configuration have their own, so they are looked for everywhere.
 * https://huggingface.co/docs/transformers/custom_models
 */
export function codeNamesIn(document: unknown): CodeName[] {
  const found: CodeName[] = [];
  // Nested as deeply as whoever wrote it liked.
  const open: { value: unknown; key: string; place: Place }[] = [{ value: document, key: '', place: 'plain' }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { value, key, place } = at;
    if (typeof value === 'string' && place === 'code') found.push({ key, value });
    if (typeof value !== 'object' || value === null) continue;
    const isList = Array.isArray(value);
    for (const [name, inside] of Object.entries(value).toReversed()) {
      const shown = printable(name);
      const own = isList ? key : key === '' ? shown : `${key}.${shown}`;
      open.push({ value: inside, key: own, place: isList && place !== 'map' ? place : placeOf(name, place) });
    }
  }
  return found;
}

function placeOf(name: string, above: Place): Place {
  if (above === 'code' || above === 'map') return 'code';
  if (name === 'auto_map') return 'map';
  if (name === 'custom_pipelines') return 'pipelines';
  if (above === 'pipelines') return 'pipeline';
  return above === 'pipeline' && name === 'impl' ? 'code' : 'plain';
}
