import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import type { HttpClient, HttpRequest } from '../../http/client.ts';
import { type RetryOptions, retrying } from '../../http/retry.ts';

/** A token that the hub gives a CI job for a while, in exchange for what its CI says of who it is. */
export interface PassingToken {
  token: string;
  /** Milliseconds. */
  lifetimeMs: number;
}

export interface ExchangeOptions {
  env: Readonly<Record<string, string | undefined>>;
  endpoint: string;
  http: HttpClient;
  retry: RetryOptions;
}

const identitySchema = z.looseObject({ value: z.string().min(1) });
const exchangeSchema = z.looseObject({ access_token: z.string().min(1), expires_in: z.number().optional() });
const hour = 3600;

/**
 * The token of a trusted publisher, as huggingface_hub gets it where HF_OIDC_RESOURCE is set: the identity is in
 * HF_OIDC_ID_TOKEN, or GitHub Actions is asked for it.
 * https://huggingface.co/docs/hub/trusted-publishers
 * @throws E_AUTH: who set that variable wants this token and no other
 */
export async function exchangeToken(resource: string, options: ExchangeOptions): Promise<PassingToken> {
  const at: ErrorPlace = { side: 'source', item: 'HF_OIDC_RESOURCE' };
  const subject = options.env['HF_OIDC_ID_TOKEN'] || (await askGitHub(options, at));
  const body = JSON.stringify({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    subject_token: subject,
    resource,
  });
  const headers = { 'content-type': 'application/json' };
  const url = new URL(`${options.endpoint}/oauth/token`);
  const answer = await ask({ method: 'POST', url, headers, body, at }, options, {
    text: `the hub gives no token for HF_OIDC_RESOURCE \`${resource}\``,
    hint: 'name this CI job as a trusted publisher of that repo or user, see https://huggingface.co/docs/hub/trusted-publishers',
  });
  const { access_token: token, expires_in: seconds = hour } = validate(exchangeSchema, answer, url.pathname);
  return { token, lifetimeMs: seconds * 1000 };
}

async function askGitHub(options: ExchangeOptions, at: ErrorPlace): Promise<string> {
  const {
    GITHUB_ACTIONS: isGitHub,
    ACTIONS_ID_TOKEN_REQUEST_URL: address,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: token,
  } = options.env;
  if (isGitHub !== 'true')
    throw new MirrorError('E_AUTH', 'HF_OIDC_RESOURCE is set, and there is no identity to exchange', {
      hint: 'set HF_OIDC_ID_TOKEN to the id token of the CI job, or unset HF_OIDC_RESOURCE',
      at,
    });
  const permission = 'give the job `permissions: id-token: write`';
  if (!address || !token || !URL.canParse(address))
    throw new MirrorError('E_AUTH', 'GitHub Actions gives this job no id token', { hint: permission, at });
  const url = new URL(address);
  url.searchParams.set('audience', options.endpoint);
  const headers = { authorization: `Bearer ${token}` };
  const refusal = { text: 'GitHub Actions refuses an id token', hint: permission };
  const answer = await ask({ method: 'GET', url, headers, at }, options, refusal);
  return validate(identitySchema, answer, url.pathname).value;
}

async function ask(
  request: HttpRequest,
  { http, retry }: ExchangeOptions,
  { text, hint }: { text: string; hint: string },
): Promise<unknown> {
  return retrying(async () => {
    const response = await http.send(request);
    const { status } = response;
    if (status === 200) return parseJson(await response.bytes(), request.url.pathname);
    await response.discard();
    const code = status >= 500 ? 'E_REMOTE' : 'E_AUTH';
    throw new MirrorError(code, `${text} (${status})`, { hint, at: { ...request.at, status } });
  }, retry);
}
