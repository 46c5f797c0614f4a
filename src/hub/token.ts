import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The token of the user, found as huggingface_hub finds it: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH
 * or `token` in HF_HOME. Undefined when there is none, or when HF_HUB_DISABLE_IMPLICIT_TOKEN forbids to send one that
 * was not asked for. Its shape is nobody's business: not every hub's tokens begin with `hf_`.
 * https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
 */
export async function findToken(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): Promise<string | undefined> {
  if (isOn(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  const file = env['HF_TOKEN_PATH'] || join(hubHome(env, home), 'token');
  return clean(env['HF_TOKEN']) ?? clean(env['HUGGING_FACE_HUB_TOKEN']) ?? clean(await readIfThere(file));
}

function hubHome(env: Readonly<Record<string, string | undefined>>, home: string): string {
  return env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(home, '.cache'), 'huggingface');
}

/** A flag of huggingface_hub's environment. */
export function isOn(value: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(value ?? '');
}

/** Copied tokens bring line ends with them. */
function clean(token: string | undefined): string | undefined {
  return token?.replaceAll(/[\r\n]/g, '').trim() || undefined;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
