import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MirrorError } from '../../core/errors.ts';
import type { PassingToken } from './trusted-publisher.ts';

/**
 * The token of the user, found as huggingface_hub finds it: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH
 * or `token` in HF_HOME. Undefined when there is none, or when HF_HUB_DISABLE_IMPLICIT_TOKEN forbids to send one that
 * was not asked for. Its shape is nobody's business: not every hub's tokens begin with `hf_`.
 * https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
 * @throws E_AUTH for one that no request can carry, and for one of a login that has ended
 */
export async function findToken(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): Promise<string | undefined> {
  if (isOn(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  const given = clean(env['HF_TOKEN']) ?? clean(env['HUGGING_FACE_HUB_TOKEN']);
  if (given !== undefined) return given;
  const file = expanded(env['HF_TOKEN_PATH'], env, home) || join(hubHome(env, home), 'token');
  const token = clean(await readIfThere(file));
  if (token !== undefined) refuseEnded(token, await readIfThere(join(dirname(file), 'stored_tokens')));
  return token;
}

/**
 * A token of a login in the browser ends, and huggingface_hub renews it while it works. What renews it is valid once, and
 * is locked and written back by huggingface_hub: to use it here could end the user's login.
 * @param stored its list of tokens: a section for each, with `hf_token`, `refresh_token` and `expires_at`
 */
function refuseEnded(token: string, stored = ''): void {
  const section = stored.split(/^\[/m).find((text) => fieldOf(text, 'hf_token') === token) ?? '';
  const seconds = fieldOf(section, 'expires_at') ?? '';
  const endsAt = /^\d{1,12}$/.test(seconds) ? Number(seconds) * 1000 : Infinity;
  if (endsAt > Date.now()) return;
  throw new MirrorError('E_AUTH', `the login at the hub has ended at ${new Date(endsAt).toISOString()}`, {
    hint: 'renew it with `hf auth whoami`, or log in again with `hf auth login`, or set HF_TOKEN',
    at: { side: 'source' },
  });
}

function fieldOf(section: string, key: string): string | undefined {
  return new RegExp(`^${key}[ \\t]*[=:](.*)$`, 'm').exec(section)?.[1]?.trim();
}

/** Before it ends a new one is asked for, as requests take their time. */
const marginMs = 300_000;

/**
 * The token for each request: that of a trusted publisher where HF_OIDC_RESOURCE is set, asked for again when it ends,
 * else what {@link findToken} finds once.
 * @param exchange asked with the resource
 */
export function tokenSource(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
  exchange: (resource: string) => Promise<PassingToken>,
  now: () => number = Date.now,
): () => Promise<string | undefined> {
  const resource = isOn(env['HF_HUB_DISABLE_IMPLICIT_TOKEN']) ? undefined : env['HF_OIDC_RESOURCE'];
  let current: { token: Promise<string | undefined>; endsAt: number } | undefined;
  const passing = async (of: string): Promise<string> => {
    const { token, lifetimeMs } = await exchange(of);
    // What was given to the job cannot be had again, so that it is used to its end.
    const margin = env['HF_OIDC_ID_TOKEN'] ? 0 : marginMs;
    if (current) current.endsAt = now() + Math.max(0, lifetimeMs - margin);
    return token;
  };
  return async () => {
    if (current && now() < current.endsAt) return current.token;
    current = { token: resource ? passing(resource) : findToken(env, home), endsAt: Infinity };
    return current.token;
  };
}

function hubHome(env: Readonly<Record<string, string | undefined>>, home: string): string {
  const given = env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(home, '.cache'), 'huggingface');
  return expanded(given, env, home);
}

/** What no shell has expanded, as in a file of settings, huggingface_hub does: `~/x`, `$NAME`, `${NAME}`. */
function expanded(path: string | undefined, env: Readonly<Record<string, string | undefined>>, home: string): string {
  const below = (path ?? '').replace(/^~(?=\/|$)/, () => home);
  return below.replaceAll(
    /\$(?:(\w+)|\{([^}]*)\})/g,
    (text, plain?: string, braced?: string) => env[plain ?? braced ?? ''] ?? text,
  );
}

/** A flag of huggingface_hub's environment. */
export function isOn(value: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(value ?? '');
}

/** Copied tokens bring line ends with them. */
function clean(token: string | undefined): string | undefined {
  const text = token?.replaceAll(/[\r\n]/g, '').trim() || undefined;
  if (text !== undefined && /[^\u0020-\u007e]/.test(text))
    throw new MirrorError('E_AUTH', 'the token for the hub has characters that no token has', {
      hint: 'copy it anew from https://huggingface.co/settings/tokens into HF_TOKEN or the token file',
      at: { side: 'source' },
    });
  return text;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
