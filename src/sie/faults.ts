import { type ErrorCode, type ErrorPlace, MirrorError, toMirrorError } from '../core/errors.ts';
import { inBackticks, printable } from '../core/text.ts';
import * as z from '../core/zod.ts';
import type { HttpResponse } from '../http/client.ts';
import { retryAfter } from '../http/failure.ts';
import type { SieCall } from './calls.ts';

/** What is being waited for: the gateway or its connection, a machine, the weights, other work, memory. */
export type WaitPhase = 'gateway' | 'worker' | 'loading' | 'queue' | 'memory';

/** An answer that is no result: a later try may get another one, or none will. */
export type SieFault =
  | { kind: 'wait'; phase: WaitPhase; reason: string }
  /** `refused`: the model was there, and did not do what was asked; it may do something else. */
  | { kind: 'failed'; error: MirrorError; refused?: true };

const text = z.string().optional().catch(undefined);
const names = z.array(z.string()).optional().catch(undefined);
const coded = z.looseObject({ code: text, message: text });
const bodySchema = z.looseObject({
  status: text,
  message: text,
  error: z.union([z.string(), coded]).optional().catch(undefined),
  detail: z
    .union([z.string(), z.looseObject({ code: text, message: text, error_class: text, error: coded.optional() })])
    .optional()
    .catch(undefined),
  configured_gpu_types: names,
  compatible_bundles: names,
  details: z
    .array(z.looseObject({ code: text, error: text }))
    .optional()
    .catch(undefined),
});
type Body = z.infer<typeof bodySchema>;

/** A request for work as it was sent. */
interface Asked {
  call: SieCall;
  place: ErrorPlace;
  hasToken: boolean;
}

/** What of an answer decides. */
interface Found {
  response: HttpResponse;
  call: SieCall;
  hasToken: boolean;
  at: ErrorPlace;
  body: Body;
  code: string;
  said: string;
}

/** What each answer to a request for work means: wait, or fail at once because waiting cannot help. */
export function readFault(response: HttpResponse, answer: string, asked: Asked): SieFault {
  const { call, place, hasToken } = asked;
  const body = jsonBody(answer);
  const detail =
    typeof body.detail === 'object' ? (body.detail.error ?? body.detail) : { code: undefined, message: body.detail };
  const nested = typeof body.error === 'object' ? body.error : undefined;
  const code = response.headers['x-sie-error-code'] ?? nested?.code ?? detail.code ?? '';
  const plain = typeof body.error === 'string' ? body.error : '';
  const said = printable(nested?.message ?? detail.message ?? body.message ?? plain).slice(0, 300);
  const found: Found = { response, call, hasToken, at: { ...place, status: response.status }, body, code, said };
  return redirected(found) ?? refused(found) ?? byCode(found) ?? byStatus(found);
}

function wait(phase: WaitPhase, reason: string): SieFault {
  return { kind: 'wait', phase, reason };
}

function fail({ at }: Found, message: string, hint: string, code: ErrorCode = 'E_SMOKE'): SieFault {
  return { kind: 'failed', error: new MirrorError(code, message, { hint, at }) };
}

function refuse(found: Found, message: string, hint: string): SieFault {
  return { kind: 'failed', error: new MirrorError('E_SMOKE', message, { hint, at: found.at }), refused: true };
}

function redirected(found: Found): SieFault | undefined {
  const { status, headers } = found.response;
  if (status < 300 || status >= 400) return undefined;
  return fail(found, redirection(headers['location']), redirectionHint);
}

/** A signed query of the address stays out. */
export function redirection(location: string | undefined): string {
  return `the address redirects to \`${printable((location ?? '').split('?')[0] ?? '')}\``;
}

export const redirectionHint = 'give the address of the gateway itself, not of a login page or of a proxy before it';

function refused(found: Found): SieFault | undefined {
  const { response, at, said, code, body, hasToken } = found;
  if (response.status === 401 || response.status === 403)
    return { kind: 'failed', error: notAuthorised(response, at, hasToken) };
  if (response.status === 402)
    return fail(found, `the account of this token may not: ${said}`, 'use another token in SIE_AUTH_TOKEN', 'E_AUTH');
  if (response.status === 500 && code === '' && body.error !== 'all_items_failed' && /\bauth|\btoken/i.test(said))
    return { kind: 'failed', error: noTokens(response, said, at) };
  return undefined;
}

function byCode(found: Found): SieFault | undefined {
  const { response, code, said, body, call } = found;
  if (body.status === 'gpu_not_configured')
    return fail(
      found,
      `this machine profile is not configured; there are ${inBackticks(body.configured_gpu_types ?? [])}`,
      'give one of them with `--gpu`',
    );
  if (response.status === 202 || code === 'PROVISIONING')
    return wait('worker', 'no worker yet, the cluster is asked to start one');
  if (code === 'MODEL_LOAD_FAILED') {
    const failure = typeof body.detail === 'object' ? body.detail.error_class : undefined;
    return { kind: 'failed', error: loadFailure(failure, said, found.at) };
  }
  if (code === 'MODEL_LOADING') return wait('loading', 'the model is loading');
  if (code === 'LORA_LOADING') return wait('loading', 'the LoRA adapter is loading');
  if (code === 'model_not_available') return { kind: 'failed', error: loadFailure(undefined, said, found.at) };
  if (code === 'RESOURCE_EXHAUSTED') return wait('memory', 'the worker is out of memory');
  if (code === 'QUEUE_FULL' || code === 'BILLING_CAPACITY_UNAVAILABLE') return wait('queue', said || code);
  if (code === 'INPUT_TOO_LONG')
    return fail(
      found,
      `the model takes no text of this length: ${said}`,
      'the text is one line: the model configuration of this release is wrong',
    );
  const queueGone = code === 'QUEUE_UNAVAILABLE' || code === 'transport_failure' || /\bnats\b/i.test(said);
  if (response.status === 503 && queueGone && retryAfter(response) === undefined)
    return fail(
      found,
      `the gateway has no queue: ${said || code}`,
      'see the pods of NATS, and whether the gateway reaches them',
    );
  if (body.error === 'all_items_failed')
    return refuse(
      found,
      `inference failed: ${printable(body.details?.[0]?.error ?? '')} (${printable(body.details?.[0]?.code ?? 'no code')})`,
      `see the logs of the worker that has \`${call.model}\``,
    );
  return undefined;
}

function byStatus(found: Found): SieFault {
  const { response, said, body, call } = found;
  const { status } = response;
  if (status === 404 && call.path === '/v1/embeddings')
    return fail(
      found,
      'there is no `/v1/embeddings` here',
      'gateways have it from newer releases on: leave out `--openai`, or ask a worker',
      'E_NOT_FOUND',
    );
  if (status === 404)
    return fail(
      found,
      `\`${call.model}\` is not a model of this cluster${said === '' ? '' : `: ${said}`}`,
      'see `GET /v1/models` for the exact ids; they are compared with case',
      'E_NOT_FOUND',
    );
  if (status === 409)
    return fail(
      found,
      `the model is served by other SIE bundles: ${inBackticks(body.compatible_bundles ?? [])}`,
      'put the SIE bundle before the model: `--model bundle:/ORG/NAME`',
    );
  if (status === 413)
    return fail(
      found,
      'the request is too large for what stands before the gateway',
      'raise the body size limit of the ingress: it is below a kilobyte',
    );
  if (status === 400)
    return refuse(
      found,
      `the request was refused: ${said || 'no reason given'}`,
      'check `--gpu`, `--model`, and the flags for what the model does',
    );
  if (status === 429) return wait('queue', said || 'too many requests');
  if (status === 503) return wait('queue', said || 'busy (503)');
  if (status === 502 || status === 504) return wait('gateway', said || `no answer from behind the gateway (${status})`);
  return fail(found, `the gateway answered ${status}${said === '' ? '' : `: ${said}`}`, 'see the logs of the gateway');
}

function jsonBody(answer: string): Body {
  try {
    const body = bodySchema.safeParse(JSON.parse(answer));
    return body.success ? body.data : {};
  } catch {
    return {};
  }
}

/** What helps against each class of failed loads. */
const loadHints: Record<string, string> = {
  NOT_FOUND:
    'import the model and its companions, then restart the pod of the worker: a failed load is not tried again',
  GATED:
    'the worker asked the hub: the weights are not where it looks. Check workers.common.clusterCache.url, import the model, restart the pod',
  NETWORK:
    'the worker asked the hub: set HF_HUB_OFFLINE=1, check workers.common.clusterCache.url, import what is missing, restart the pod',
  CONFIG: 'a file was missing when it was loaded: import it, then restart the pod of the worker',
  OOM: 'the model does not fit into the memory of this GPU: use a larger machine profile or fewer models',
  TIMEOUT:
    'the weights came too slowly: see the log of the worker, and what the bucket gives; then restart the pod of the worker',
  DEPENDENCY: 'this image has not what the model needs: use the SIE bundle that serves it',
};

/** A model that will not load however long one waits. */
export function loadFailure(errorClass: string | undefined, said: string, at: ErrorPlace): MirrorError {
  return new MirrorError('E_SMOKE', `the model does not load (${printable(errorClass ?? 'no class given')}): ${said}`, {
    hint:
      loadHints[errorClass ?? ''] ?? 'see the logs of the worker; after importing what was missing, restart its pod',
    at,
  });
}

/** @param hasToken whether a token was sent */
export function notAuthorised(response: HttpResponse, at: ErrorPlace, hasToken: boolean): MirrorError {
  const what = hasToken ? 'refused the token' : 'wants a token, and none was given';
  return new MirrorError('E_AUTH', `\`${response.url.host}\` ${what} (${response.status})`, {
    hint: 'set SIE_AUTH_TOKEN to a token that may encode; the admin token may not',
    at: { ...at, status: response.status },
  });
}

/** For a gateway that wants tokens and knows none. */
export function noTokens(response: HttpResponse, said: string, at: ErrorPlace): MirrorError {
  return new MirrorError('E_AUTH', `\`${response.url.host}\` cannot check tokens: ${said}`, {
    hint: 'authentication is on but the gateway was given no tokens: give it some, and set SIE_AUTH_TOKEN to one of them',
    at: { ...at, status: response.status },
  });
}

export const addressHint =
  'check the address: it has to be that of the SIE gateway, with its port, and no login page or proxy in between';

/** A name that nobody knows will hardly be known in a minute. */
export function isUnknownHost(error: MirrorError): boolean {
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause)
    if ((cause as { code?: string }).code === 'ENOTFOUND') return true;
  return false;
}

/** What the HTTP client says of the wrong scheme is for registries, which are named without one. */
export function schemeFault(error: unknown, { protocol, host }: URL): unknown {
  if (!(error instanceof MirrorError) || error.hint?.includes('--insecure-host') !== true) return error;
  const other = protocol === 'https:' ? 'http' : 'https';
  const more = other === 'https' ? '; if its authority is not known here, name that with `--ca FILE`' : '';
  return withHint(error, `write the address as \`${other}://${host}\`${more}`);
}

/** The same failure with a next step that fits a cluster. */
export function withHint(error: unknown, hint: string): MirrorError {
  const { code, message, at, cause, retryAfterMs } = toMirrorError(error);
  return new MirrorError(code, message, { hint, at, cause, retryAfterMs });
}
