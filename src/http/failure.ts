import { type ErrorCode, MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';
import { type HttpRequest, type HttpResponse, redactUrl } from './client.ts';

const errorBodyLimit = 64 * 1024;

/** What a status means when the service has said nothing better. */
export function codeOfStatus(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'E_AUTH';
  if (status === 404 || status === 410) return 'E_NOT_FOUND';
  if (status === 408 || status === 499 || status >= 500) return 'E_REMOTE';
  if (status === 429) return 'E_RATE_LIMIT';
  if (status === 405 || status === 409 || status === 412 || status === 413) return 'E_REFUSED';
  return 'E_PROTOCOL';
}

/** The start of an error answer's body; never throws. */
export async function errorText(response: HttpResponse): Promise<string> {
  try {
    return (await response.bytes(errorBodyLimit)).toString('utf8');
  } catch {
    await response.discard();
    return '';
  }
}

/** An answer with an unwanted status as an error; reads its body. */
export async function failure(response: HttpResponse, at: HttpRequest['at']): Promise<MirrorError> {
  const text = await errorText(response);
  return statusError(response, at, text.startsWith('<') ? '' : text.trim().slice(0, 200));
}

/** The same where the body has been read. @param said what the server said, for the message */
export function statusError(
  response: HttpResponse,
  at: HttpRequest['at'],
  said: string,
  code = codeOfStatus(response.status),
): MirrorError {
  const place = { ...at, url: redactUrl(response.url), status: response.status };
  const retryAfterMs = retryAfter(response);
  const message = `\`${response.url.host}\` answered ${response.status}${said === '' ? '' : `: ${printable(said)}`}`;
  return new MirrorError(code, message, retryAfterMs === undefined ? { at: place } : { at: place, retryAfterMs });
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-retry-after, in milliseconds. */
export function retryAfter(response: HttpResponse): number | undefined {
  const value = response.headers['retry-after'];
  if (value === undefined) return rateLimitReset(response);
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

/** What the hub says instead: `RateLimit: "api";r=0;t=55`, seconds until the window ends. https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
function rateLimitReset(response: HttpResponse): number | undefined {
  if (response.status !== 429) return undefined;
  const seconds = /;\s*t=(\d+)/.exec(response.headers['ratelimit'] ?? '')?.[1];
  return seconds === undefined ? undefined : (Number(seconds) + 1) * 1000;
}
