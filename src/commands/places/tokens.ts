import type { SieTokens } from '../../sie/client.ts';
import type { Context } from '../context.ts';

/** The tokens of the gateway, from SIE_AUTH_TOKEN and SIE_ADMIN_TOKEN. */
export function readTokens(env: Context['env']): SieTokens {
  const read = (name: string): string | undefined => env[name]?.trim() || undefined;
  return { token: read('SIE_AUTH_TOKEN'), adminToken: read('SIE_ADMIN_TOKEN') };
}

/** For those who are not to get them: what they answer may still hold what the gateway sent on. */
export function hiddenTokens(env: Context['env']): SieTokens {
  const { token, adminToken } = readTokens(env);
  return { token: undefined, hidden: [token ?? '', adminToken ?? ''] };
}
