import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HubRepo } from './hub-repo.ts';
import { sendJson } from './server.ts';

/** What one token may do. */
export interface HubToken {
  /** Ids of the gated and private repositories that it may read. */
  access: readonly string[];
  /** Gated repositories whose owners have not answered yet. */
  pending?: readonly string[];
  /** A fine-grained token whose owner did not let it read gated repositories. */
  fineGrained?: boolean;
  /** User name that whoami-v2 tells. */
  name?: string;
}

/** Who sends a request. */
export type Caller = { kind: 'anonymous' } | { kind: 'invalid' } | { kind: 'known'; token: HubToken };

/** A request that the hub turns down, as its clients tell the cases apart. */
export interface Refusal {
  status: number;
  code?: string;
  message: string;
  headers?: Record<string, string>;
}

/** Reads the bearer token of a request. */
export function callerOf(request: IncomingMessage, tokens: Record<string, HubToken>): Caller {
  const header = request.headers.authorization;
  if (header === undefined) return { kind: 'anonymous' };
  const value = /^Bearer (.+)$/i.exec(header)?.[1] ?? '';
  const token = Object.hasOwn(tokens, value) ? tokens[value] : undefined;
  return token ? { kind: 'known', token } : { kind: 'invalid' };
}

/** An unknown token, on whatever it is used. */
export const INVALID_TOKEN: Refusal = { status: 401, message: 'Invalid credentials in Authorization header' };

/** A repository that is missing, or that this caller must not know of. */
export function missingRepo(caller: Caller): Refusal {
  if (caller.kind === 'invalid') return INVALID_TOKEN;
  return caller.kind === 'anonymous'
    ? { status: 401, code: 'RepoNotFound', message: 'Invalid username or password.' }
    : { status: 404, code: 'RepoNotFound', message: 'Repository not found' };
}

/** A revision that the repository does not have. */
export function missingRevision(revision: string): Refusal {
  return { status: 404, code: 'RevisionNotFound', message: `Invalid rev id: ${revision}` };
}

/** Whether a repository exists for this caller. */
export function isVisible(repo: HubRepo, caller: Caller): boolean {
  return !repo.spec.private || hasAccess(repo, caller);
}

/** Why this caller may not read the repository's metadata. */
export function refuseMetadata(repo: HubRepo, caller: Caller): Refusal | undefined {
  if (caller.kind === 'invalid') return INVALID_TOKEN;
  if (!isVisible(repo, caller)) return missingRepo(caller);
  if (repo.spec.disabled) return { status: 403, message: 'Access to this resource is disabled.' };
  return undefined;
}

/** Why this caller may not read the repository's files: gates guard the files only. */
export function refuseFiles(repo: HubRepo, caller: Caller): Refusal | undefined {
  if (!repo.spec.gated || hasAccess(repo, caller) || !isVisible(repo, caller)) return refuseMetadata(repo, caller);
  const subject = `${repo.type} ${repo.id}`;
  if (caller.kind !== 'known') {
    const rest = 'You must have access to it and be authenticated to access it. Please log in.';
    return { status: 401, code: 'GatedRepo', message: `Access to ${subject} is restricted. ${rest}` };
  }
  if (caller.token.fineGrained) {
    const right = 'Please enable access to public gated repositories in your fine-grained token settings to view it.';
    return { status: 403, message: right };
  }
  const message = caller.token.pending?.includes(repo.id)
    ? `Your request to access ${subject} is awaiting a review from the repo authors.`
    : `Access to ${subject} is restricted and you are not in the authorized list. ` +
      `Visit https://huggingface.co/${repo.id} to ask for access.`;
  return { status: 403, code: 'GatedRepo', message };
}

/** Answers with a refusal: API routes speak JSON, file routes plain text. */
export function refuse(response: ServerResponse, refusal: Refusal, as: 'json' | 'text'): true {
  // A header carries no letters beyond Latin-1, and paths have them.
  const headers: Record<string, string> = { 'x-error-message': refusal.message.replaceAll(/[^ -~]/g, '?') };
  if (refusal.code) headers['x-error-code'] = refusal.code;
  if (refusal.status === 401) headers['www-authenticate'] = 'Bearer realm="Authentication required", charset="UTF-8"';
  Object.assign(headers, refusal.headers);
  if (as === 'json') return sendJson(response, refusal.status, { error: refusal.message }, headers);
  return sendText(response, refusal.status, refusal.message, headers);
}

/** Answers with a short text. */
export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): true {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
    ...headers,
  });
  // Node drops the body of an answer to HEAD by itself, but the byte count of the log must not know of it either.
  response.end(response.req.method === 'HEAD' ? undefined : text);
  return true;
}

function hasAccess(repo: HubRepo, caller: Caller): boolean {
  return caller.kind === 'known' && !caller.token.fineGrained && caller.token.access.includes(repo.id);
}
