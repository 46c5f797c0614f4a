/** The head of an answer whose body is as long as it says. */
export interface PlainHead {
  status: number;
  /** Values by lower-case name; repeated ones are joined. */
  headers: Record<string, string | undefined>;
  length: number;
  /** Whether the connection can take another request. */
  keepAlive: boolean;
}

const statusLine = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const headerLine = /^([!#$%&'*+.^_`|~\w-]+):[\t ]*((?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)[\t ]*$/;

/**
 * Reads the plainest kind of head: HTTP/1.1, one line a header, one Content-Length, no Transfer-Encoding, a status that
 * comes with a body. Undefined for all others, whether they are right or wrong: a whole parser has to look at them.
 * https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 * @param text without the empty line at its end
 */
export function parsePlainHead(text: string): PlainHead | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const status = Number(statusLine.exec(first)?.[1]);
  if (Number.isNaN(status) || status === 204 || status === 304) return undefined;
  const headers: PlainHead['headers'] = {};
  for (const line of lines) {
    const [, name, value = ''] = headerLine.exec(line) ?? [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    const known = headers[key];
    headers[key] = known === undefined ? value : `${known}, ${value}`;
  }
  const { 'content-length': length = '', 'transfer-encoding': coding, connection = '' } = headers;
  if (!/^\d{1,15}$/.test(length) || coding !== undefined) return undefined;
  return { status, headers, length: Number(length), keepAlive: !/\bclose\b/i.test(connection) };
}

/** A request without a body; undefined when one of the headers cannot be sent as it is. */
export function formatPlainGet(url: URL, headers: Record<string, string>): string | undefined {
  const lines = Object.entries({ host: url.host, connection: 'keep-alive', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  if (!lines.every((line) => headerLine.test(line))) return undefined;
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}
