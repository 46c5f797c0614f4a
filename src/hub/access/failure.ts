import { type ErrorCode, type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { type HttpResponse, redactUrl } from '../../http/client.ts';
import { codeOfStatus, errorText, statusError } from '../../http/failure.ts';
import { pageOf, type RepoName } from '../repo.ts';

/** Why a gated repo stays shut. */
export type GateState = 'no-token' | 'unknown-token' | 'token-without-right' | 'terms-not-accepted' | 'awaiting-review';

/** The other side of a request that failed. */
export interface Asked {
  /** What was asked for, for people: `ORG/NAME@REVISION` or `ORG/NAME/FILE`. */
  item: string;
  name: RepoName;
  endpoint: string;
  /** That was shown to the hub. */
  token: string | undefined;
}

/** A refusal in our words, and whether it is a gate that is shut. */
export interface HubFailure {
  error: MirrorError;
  gate?: GateState;
}

/** What the hub said when it refused. */
interface Refusal {
  status: number;
  kind: string;
  said: string;
}

const codesOfKinds: Record<string, ErrorCode> = {
  RepoNotFound: 'E_NOT_FOUND',
  RevisionNotFound: 'E_NOT_FOUND',
  EntryNotFound: 'E_NOT_FOUND',
  GatedRepo: 'E_GATED',
};

/**
 * A refusal of the hub in our words; reads the body. `X-Error-Code` says more than the status.
 * https://huggingface.co/docs/hub/api
 */
export async function hubFailure(response: HttpResponse, asked: Asked): Promise<HubFailure> {
  const { item, name, endpoint, token } = asked;
  const at: ErrorPlace = { side: 'source', item };
  // A signed address that has expired: asking the hub again gives a fresh one.
  if (response.url.origin !== new URL(endpoint).origin && (response.status === 401 || response.status === 403))
    return {
      error: statusError(response, at, await discarded(response, 'the signed address was refused'), 'E_REMOTE'),
    };
  const refusal = await readRefusal(response, token);
  const gate = gateState(refusal, token !== undefined);
  if (gate === undefined) return { error: plainFailure(response, refusal, asked) };
  const place = { ...at, url: redactUrl(response.url), status: refusal.status };
  return { gate, error: gateError(gate, name, `${endpoint}/${pageOf(name)}`, refusal.said, place) };
}

function plainFailure(response: HttpResponse, refusal: Refusal, asked: Asked): MirrorError {
  const { item, name, endpoint } = asked;
  const { kind, said, status } = refusal;
  const at: ErrorPlace = { side: 'source', item };
  const place = { ...at, url: redactUrl(response.url), status };
  const page = `${endpoint}/${pageOf(name)}`;
  const token =
    asked.token !== undefined
      ? 'check that the token of HF_TOKEN may read it'
      : 'set HF_TOKEN to a token of an account that may read it';
  if (said.startsWith('Access to this resource is disabled'))
    return new MirrorError('E_AUTH', `\`${name.repo}\` has been disabled by the hub`, {
      hint: `see ${page}`,
      at: place,
    });
  if (kind === 'RevisionNotFound')
    return new MirrorError('E_NOT_FOUND', `\`${item}\`: there is no such revision`, {
      hint: /@[0-9a-f]{4,39}$/.test(item)
        ? `a commit is named by all of its 40 digits: see ${page}/commits/main`
        : `see ${page}/tree/main for what there is`,
      at: place,
    });
  if (kind === 'EntryNotFound')
    return new MirrorError('E_NOT_FOUND', `\`${item}\`: there is no such file`, { at: place });
  const code = codeOf(refusal);
  if (kind === '' && (status === 404 || status === 410) && item.startsWith(`${name.repo}/`))
    return new MirrorError(code, `\`${item}\`: the hub lists it, and answers ${status} when it is asked for`, {
      hint: 'run the same command again; check HF_ENDPOINT when it leads to a mirror',
      at: place,
    });
  if (code === 'E_NOT_FOUND')
    return new MirrorError(code, `the ${name.type} \`${name.repo}\` is not on the hub, or is private`, {
      hint: `check the spelling${name.type === 'model' ? ' and `--type`' : ''}; for a private repo ${token}`,
      at: place,
    });
  if (code === 'E_AUTH' && status === 401)
    return new MirrorError(code, `the hub does not know the token with which \`${name.repo}\` was asked for`, {
      hint: 'make a new token, or unset HF_TOKEN and remove the token file: what is public needs none',
      at: place,
    });
  if (code === 'E_AUTH') return refused(refusal, asked, token, place);
  return statusError(response, at, said, code);
}

/** Also said of what the law forbids in some places, and to whole networks: https://www.rfc-editor.org/rfc/rfc7725 */
function refused({ status, said }: Refusal, asked: Asked, token: string, at: ErrorPlace): MirrorError {
  const { name } = asked;
  const whom = asked.token === undefined ? 'to give' : 'the token for';
  const text = status === 451 ? `may not give \`${name.repo}\`, for legal reasons` : `refused ${whom} \`${name.repo}\``;
  return new MirrorError('E_AUTH', `the hub ${text}${said === '' ? '' : `; it says: ${said.slice(0, 300)}`}`, {
    hint: status === 451 ? 'leave the repo out, or ask its owners' : token,
    at,
  });
}

/** Undefined when the refusal has nothing to do with a gate. */
function gateState({ status, kind, said }: Refusal, hasToken: boolean): GateState | undefined {
  // Said of a fine-grained token, with or without a code: https://huggingface.co/docs/hub/security-tokens
  if (/fine-grained token/i.test(said)) return 'token-without-right';
  if (kind !== 'GatedRepo') return undefined;
  if (!hasToken) return 'no-token';
  if (status === 401) return 'unknown-token';
  return /awaiting a review|pending/i.test(said) ? 'awaiting-review' : 'terms-not-accepted';
}

/** Servers repeat requests in their errors; the token is not printed all the same. */
async function readRefusal(response: HttpResponse, token: string | undefined): Promise<Refusal> {
  const kind = response.headers['x-error-code'] ?? '';
  const text = await errorText(response);
  const said = printable(response.headers['x-error-message'] ?? plainText(text));
  return { status: response.status, kind, said: token === undefined ? said : said.replaceAll(token, '***') };
}

const gateTexts: Record<GateState, { text: string; todo: (page: string) => string }> = {
  'no-token': {
    text: 'there is no token',
    todo: (page) => `open ${page}, log in, accept the terms there, and set HF_TOKEN to a token of that account`,
  },
  'unknown-token': {
    text: 'the hub does not know the token',
    todo: (page) => `make a new token of an account that has accepted the terms of ${page}, and set HF_TOKEN to it`,
  },
  'token-without-right': {
    text: 'the token lacks the right to read gated repos',
    todo: () =>
      'open https://huggingface.co/settings/tokens, and let this fine-grained token read public gated repos, or use a token of the kind `read`',
  },
  'terms-not-accepted': {
    text: 'the account of the token has not accepted its terms',
    todo: (page) => `open ${page} with that account, and accept the terms there`,
  },
  'awaiting-review': {
    text: 'its owners have not answered the request of this account yet',
    todo: (page) => `wait for them, and see ${page}`,
  },
};

function gateError(state: GateState, name: RepoName, page: string, said: string, at: ErrorPlace): MirrorError {
  const { text, todo } = gateTexts[state];
  const message = `\`${name.repo}\` is gated, and ${text}${said === '' ? '' : `; the hub says: ${said.slice(0, 300)}`}`;
  return new MirrorError('E_GATED', message, { hint: todo(page), at });
}

/** The hub hides what is private behind a 401 for everybody whom it does not know. */
function codeOf({ kind, status, said }: Refusal): ErrorCode {
  if (status === 451) return 'E_AUTH';
  return codesOfKinds[kind] ?? (status === 401 && !/credentials/i.test(said) ? 'E_NOT_FOUND' : codeOfStatus(status));
}

function plainText(text: string): string {
  return text.startsWith('<') ? '' : text.trim().slice(0, 300);
}

async function discarded(response: HttpResponse, text: string): Promise<string> {
  await response.discard();
  return text;
}
