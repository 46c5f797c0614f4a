import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import type { HttpRequest, HttpResponse } from '../../http/client.ts';
import { errorText, statusError } from '../../http/failure.ts';
import type { BasicCredential, Credential } from './credentials.ts';

/** What a token server is asked for. */
export interface TokenRequest {
  realm: URL;
  service: string | undefined;
  /** Several are separated by blanks. */
  scope: string;
  at: ErrorPlace;
}

type Send = (request: HttpRequest) => Promise<HttpResponse>;

const answerLimit = 128 * 1024;
/** Shorter lives are taken for this: a token that dies sooner is renewed when it is refused. */
const shortestSeconds = 60;
/** A token is renewed when this part of its life is over. */
const freshPart = 0.8;

/**
 * Asks for a token: https://distribution.github.io/distribution/spec/auth/token/ , with an identity token by
 * https://distribution.github.io/distribution/spec/auth/oauth/ , and where the server does not know that in the first way.
 */
export async function requestToken(
  send: Send,
  request: TokenRequest,
  credential: Exclude<Credential, { kind: 'access' }> | undefined,
): Promise<HttpResponse> {
  if (credential?.kind !== 'identity') return ask(send, request, credential);
  const response = await exchange(send, request, credential.token);
  if (response.status !== 404 && response.status !== 405) return response;
  await response.discard();
  // The user name under which helpers give identity tokens.
  const basic = credential.basic ?? { kind: 'basic', user: '<token>', password: credential.token };
  return ask(send, request, basic);
}

async function ask(
  send: Send,
  { realm, service, scope, at }: TokenRequest,
  credential: BasicCredential | undefined,
): Promise<HttpResponse> {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.append('service', service);
  for (const each of scope.split(' ')) url.searchParams.append('scope', each);
  const headers: Record<string, string> = credential ? { authorization: basicHeader(credential) } : {};
  return send({ method: 'GET', url, headers, at });
}

async function exchange(
  send: Send,
  { realm, service, scope, at }: TokenRequest,
  identity: string,
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'sie-mirror',
    refresh_token: identity,
    scope,
  });
  if (service !== undefined) form.append('service', service);
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return send({ method: 'POST', url: realm, headers, body: form.toString(), at });
}

const tokenSchema = z.looseObject({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  expires_in: z.coerce.number().nullish().catch(undefined),
});

/**
 * @param redact takes out of the server's words what it was shown
 * @throws E_PROTOCOL when there is no token in it; for a status, what `statusError` makes of it
 */
export async function readToken(
  response: HttpResponse,
  at: ErrorPlace,
  redact: (text: string) => string,
): Promise<{ token: string; freshUntil: number }> {
  if (response.status !== 200) {
    const text = redact(await errorText(response)).trim();
    throw statusError(response, at, text.startsWith('<') ? '' : text.slice(0, 200));
  }
  const server = response.url.host;
  const document = parseJson(await answerOf(response, at), `token of ${server}`, 'E_PROTOCOL');
  const answer = validate(tokenSchema, document, `token of ${server}`, 'E_PROTOCOL');
  const token = answer.token || answer.access_token;
  if (!token || !/^[\u0021-\u007e]+$/.test(token))
    throw new MirrorError('E_PROTOCOL', `\`${server}\` gave no token`, { at: { ...at, status: response.status } });
  const seconds = Math.max(answer.expires_in ?? shortestSeconds, shortestSeconds);
  return { token, freshUntil: Date.now() + seconds * freshPart * 1000 };
}

async function answerOf(response: HttpResponse, at: ErrorPlace): Promise<Buffer> {
  try {
    return await response.bytes(answerLimit);
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'E_SIZE_MISMATCH') throw error;
    throw new MirrorError('E_PROTOCOL', `\`${response.url.host}\` gave more than ${answerLimit} bytes for a token`, {
      at: { ...at, status: response.status },
    });
  }
}

export function basicHeader(credential: BasicCredential): string {
  return `Basic ${Buffer.from(`${credential.user}:${credential.password}`).toString('base64')}`;
}

export function bearerHeader(token: string): string {
  return `Bearer ${token}`;
}
