const link = /<([^<>]*)>((?:\s*;\s*[\w*-]+(?:\s*=\s*(?:"[^"]*"|[^\s,;"]+))?)*)/g;
const parameter = /;\s*([\w*-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;"]+)))?/g;

/**
 * The next page by a Link header, which may hold several links, each with parameters in any order:
 * https://www.rfc-editor.org/rfc/rfc8288#section-3
 */
export function nextLink(header: string): string | undefined {
  for (const [, address, parameters = ''] of header.matchAll(link))
    for (const [, name = '', quoted, bare = ''] of parameters.matchAll(parameter))
      if (name.toLowerCase() === 'rel' && /(?:^|\s)next(?:\s|$)/i.test(quoted ?? bare)) return address;
  return undefined;
}
