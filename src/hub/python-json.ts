/**
 * JSON as Python's `json` reads it, which takes `NaN`, `Infinity` and `-Infinity` for numbers: configurations have them, and
 * loaders read those all the same. Here they become null.
 * https://docs.python.org/3/library/json.html#infinite-and-nan-number-values
 * @throws SyntaxError for what Python does not read either
 */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/NaN|Infinity/.test(text)) throw error;
    return JSON.parse(text.replace(stringOrConstant, (part) => (part.startsWith('"') ? part : 'null')));
  }
}

const stringOrConstant = /"[^"\\]*(?:\\[^][^"\\]*)*"|-?\bInfinity\b|\bNaN\b/g;
