export type YamlValue = string | number | boolean | readonly YamlValue[] | { readonly [key: string]: YamlValue };

/** Comments by the path of what they stand above: keys and indices with `.` between them. */
export type Comments = Readonly<Record<string, string>>;

// What YAML 1.1, which Kubernetes' and Helm's readers speak in part, takes for something else than text.
const notText = /^(?:y|n|yes|no|on|off|true|false|null)$/i;
const plain = /^[A-Za-z/](?:[\w./@-]|:(?=[\w/]))*$/;

/**
 * Block style, keys in the order in which they were put in: the same value gives the same bytes.
 * Strings that a reader could take for something else are quoted as in JSON: https://yaml.org/spec/1.2.2/#732-double-quoted-style
 */
export function formatYaml(value: YamlValue, comments: Comments = {}): string {
  return `${lines(value, '', comments).join('\n')}\n`;
}

/** Several documents in one file. */
export function formatYamlDocuments(documents: readonly YamlValue[]): string {
  return documents.map((document) => formatYaml(document)).join('---\n');
}

function lines(value: YamlValue, path: string, comments: Comments): string[] {
  if (isInline(value)) return [inline(value)];
  if (isList(value)) return value.flatMap((item, index) => listItem(item, join(path, String(index)), comments));
  return Object.entries(value).flatMap(([key, item]) => entry(key, item, join(path, key), comments));
}

function isInline(value: YamlValue): boolean {
  return typeof value !== 'object' || Object.keys(value).length === 0;
}

function inline(value: YamlValue): string {
  if (typeof value !== 'object') return scalar(value);
  return isList(value) ? '[]' : '{}';
}

function isList(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}

function entry(key: string, value: YamlValue, path: string, comments: Comments): string[] {
  const above = commentLines(path, comments);
  if (isInline(value)) return [...above, `${scalar(key)}: ${inline(value)}`];
  return [...above, `${scalar(key)}:`, ...lines(value, path, comments).map((line) => `  ${line}`)];
}

function listItem(value: YamlValue, path: string, comments: Comments): string[] {
  const [first = '', ...rest] = lines(value, path, comments);
  return [...commentLines(path, comments), `- ${first}`, ...rest.map((line) => `  ${line}`)];
}

function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  return plain.test(value) && !notText.test(value) ? value : JSON.stringify(value);
}

function commentLines(path: string, comments: Comments): string[] {
  if (!Object.hasOwn(comments, path)) return [];
  return (comments[path] ?? '').split('\n').map((line) => `# ${line}`);
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
