import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { type HttpRequest, type HttpResponse, redactUrl, redirectTarget } from '../../http/client.ts';

/** As many as of requests that read. */
const maxHops = 10;

/**
 * Where a registry says that what was begun goes on. It may name itself by the wrong scheme: with http behind a proxy that
 * ends TLS.
 * @throws E_PROTOCOL for what no registry has business sending us to
 */
export function addressIn(from: URL, location: string, at: ErrorPlace): URL {
  const named = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  if (named?.host === from.host) named.protocol = from.protocol;
  if (named?.hostname === from.hostname && named.protocol === 'http:' && from.protocol === 'https:')
    throw new MirrorError(
      'E_PROTOCOL',
      `\`${from.host}\` calls itself \`${named.origin}\`: it does not know by which address it is asked`,
      {
        hint: 'have the proxy before it pass on `Host` and `X-Forwarded-Proto`, or set the address in the registry (distribution: `http.host`)',
        at: { ...at, url: redactUrl(from) },
      },
    );
  return redirectTarget(from, named?.href ?? location, at);
}

/**
 * Sends a request that writes on to where its answer says: registries may redirect any request, and 307 and 308 keep
 * method and body. Who follows other redirects of what writes turns it into a question; those are handed up.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#api and
 * https://www.rfc-editor.org/rfc/rfc9110#section-15.4
 * @param first the request as it was made for the registry
 * @param make a request like it with a body of its own
 * @param send has to keep credentials from other hosts than the registry
 * @throws E_PROTOCOL when that does not end
 */
export async function sendOn<T extends { response: HttpResponse }>(
  first: HttpRequest,
  make: () => HttpRequest,
  send: (request: HttpRequest, from: URL | undefined) => Promise<T>,
): Promise<T> {
  let sent = await send(first, undefined);
  for (let hop = 1; ; hop += 1) {
    const { status, headers, url } = sent.response;
    const { location } = headers;
    if ((status !== 307 && status !== 308) || location === undefined) return sent;
    await sent.response.discard();
    if (hop > maxHops)
      throw new MirrorError('E_PROTOCOL', `more than ${maxHops} redirects`, {
        at: { ...first.at, url: redactUrl(first.url) },
      });
    // Who is asked by HTTP and names HTTPS means it here.
    const next = (url.protocol === 'https:' ? addressIn : redirectTarget)(url, location, first.at);
    sent = await send({ ...make(), url: next }, url);
  }
}
