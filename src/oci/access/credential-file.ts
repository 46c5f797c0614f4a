import { readFile } from 'node:fs/promises';
import { MirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import type { BasicCredential, Credential } from './credentials.ts';
import { dockerHub } from '../reference.ts';

const entrySchema = z.looseObject({
  auth: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish(),
  identitytoken: z.string().nullish(),
  registrytoken: z.string().nullish(),
});
const fileSchema = z.looseObject({
  auths: z.record(z.string(), entrySchema).nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
});

type Entry = z.infer<typeof entrySchema>;

/** One config.json or auth.json. */
export interface CredentialFile {
  /** Name of the helper for a host. */
  helperFor(registry: string): string | undefined;
  /** From `auths`: the entry of the longest path that the repository lies below. @throws E_USAGE for one that cannot be read */
  entryFor(registry: string, repository: string): Credential | undefined;
  /** Name of the helper for all others. */
  readonly store: string | undefined;
  /** A host as the file spells it: helpers know it by that, letter by letter. */
  spelt(registry: string): string;
}

/**
 * @param variable set when the user named this very file: then it has to be there
 * @returns undefined when there is no such file
 * @throws E_USAGE, naming a file that cannot be read
 */
export async function readCredentialFile(path: string, variable?: string): Promise<CredentialFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code = 'an error' } = error as NodeJS.ErrnoException;
    if ((code === 'ENOENT' || code === 'ENOTDIR') && variable === undefined) return undefined;
    throw new MirrorError('E_USAGE', `\`${path}\`, which holds credentials, cannot be read (${code})`, {
      hint: variable === undefined ? 'mend the file, or move it away' : `set ${variable} to a file that can be read`,
      cause: error,
    });
  }
  // Podman makes an empty file where docker makes none.
  if (text.trim() === '') return undefined;
  return parseCredentialFile(text, path);
}

/** @param path for messages @throws E_USAGE for what is no such file */
export function parseCredentialFile(text: string, path: string): CredentialFile {
  const document = validate(fileSchema, parseJson(text, path, 'E_USAGE'), path, 'E_USAGE');
  const helpers = byHost(document.credHelpers ?? {});
  const auths = byHost(document.auths ?? {});
  const keys = [...Object.keys(document.credHelpers ?? {}), ...Object.keys(document.auths ?? {})];
  return {
    helperFor: (registry) => helpers.get(registry.toLowerCase())?.value || undefined,
    spelt: (registry) => {
      const same = keys.filter((key) => key.toLowerCase() === registry.toLowerCase());
      return same.includes(registry) ? registry : (same[0] ?? registry);
    },
    entryFor: (registry, repository) => {
      for (const name of placesAbove(`${registry.toLowerCase()}/${repository}`)) {
        const entry = auths.get(name);
        const found = entry && credentialOf(entry.value, entry.key, path);
        if (found) return found;
      }
      return undefined;
    },
    store: document.credsStore || undefined,
  };
}

/** What is named `https://index.docker.io/v1/`, `https://host`, `host/`, `Host` in a file, by host in lower case. */
function byHost<T>(entries: Record<string, T>): Map<string, { key: string; value: T }> {
  const found = new Map<string, { key: string; value: T }>();
  for (const [key, value] of Object.entries(entries)) {
    const name = normalise(key);
    // The plain form is what a login writes today; the others may be left over.
    if (key === name || !found.has(name)) found.set(name, { key, value });
  }
  return found;
}

function normalise(key: string): string {
  const plain = key.replace(/^https?:\/\//i, '');
  const named = plain === key ? plain.replace(/\/(?:v[12]\/)?$/, '') : plain.replace(/\/.*$/, '');
  return named.toLowerCase().replace(/^(?:index|registry-1)\.docker\.io(?=\/|$)/, dockerHub);
}

/** `a/b/c`, `a/b`, `a`. */
function placesAbove(name: string): string[] {
  const parts = name.split('/');
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

function credentialOf(entry: Entry, key: string, path: string): Credential | undefined {
  const basic = basicOf(entry, key, path);
  if (entry.registrytoken) return { kind: 'access', token: entry.registrytoken };
  if (entry.identitytoken)
    return { kind: 'identity', token: entry.identitytoken, ...(basic?.password ? { basic } : {}) };
  return basic;
}

function basicOf(entry: Entry, key: string, path: string): BasicCredential | undefined {
  if (entry.auth) {
    const decoded = Buffer.from(entry.auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (colon < 0)
      throw new MirrorError('E_USAGE', `\`${path}\`: the \`auth\` of \`${key}\` is not USER:PASSWORD in base64`, {
        hint: `log in again with \`docker login ${key}\``,
      });
    // Docker itself pads some passwords with zeros.
    return { kind: 'basic', user: decoded.slice(0, colon), password: trimZeros(decoded.slice(colon + 1)) };
  }
  if (!entry.username || !entry.password) return undefined;
  return { kind: 'basic', user: entry.username, password: entry.password };
}

function trimZeros(text: string): string {
  let end = text.length;
  while (end > 0 && text.codePointAt(end - 1) === 0) end -= 1;
  return text.slice(0, end);
}
