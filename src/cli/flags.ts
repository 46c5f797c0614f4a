import type { TrustOptions } from '../commands/records/sealed.ts';
import type { SigningOptions } from '../commands/records/signing.ts';
import type { DenyRule } from '../hub/safety/policy.ts';
import type { Flag } from './command-row.ts';
import { parseCount } from './size.ts';

export const storeFlag: Flag = {
  flags: '--store <dir>',
  text: 'the working directory on the online side',
  fallback: './sie-mirror-store',
};

export const keyFlags: readonly Flag[] = [
  {
    flags: '--key <pub.pem>',
    text: 'public key of the maker, or of who approved; can be given again; without it no signature is checked',
    parse: collect,
  },
  {
    flags: '--require <n>',
    text: 'how many different keys of those given must have signed (default: 1)',
    parse: parseCount('--require', 1),
  },
];

export const fromFlag: Flag = {
  flags: '--from <dir>',
  text: 'one more directory that this bundle lies in, as another medium; can be given again',
  parse: collect,
};

const passphraseFlag: Flag = {
  flags: '--passphrase-file <file>',
  text: 'passphrase of an encrypted private key (or SIE_MIRROR_PASSPHRASE, COSIGN_PASSWORD)',
};

/** @param what is signed */
export function signFlags(what: string): readonly Flag[] {
  return [
    { flags: '--sign <key>', text: 'private key to sign with, from `sie-mirror keygen`, openssl or cosign' },
    ...signCommandFlags(what),
  ];
}

export function signCommandFlags(what: string): readonly Flag[] {
  return [
    passphraseFlag,
    { flags: '--sign-cmd <command>', text: `sign with a command: ${what} on its input, the signature on its output` },
    { flags: '--sign-pub <pub.pem>', text: 'public key of what `--sign-cmd` signs with' },
  ];
}

export const junitFlag: Flag = { flags: '--junit <file>', text: 'write the verdict as a JUnit test report, for CI' };

export const denyFlag: Flag = {
  flags: '--deny <rules>',
  text: 'refuse all when a model has any of: pickle, unsafe-pickle, remote-code, no-licence, gated, malformed',
};

/** Flags that every command takes. */
export const commonFlags: readonly Flag[] = [
  { flags: '--json', text: 'print the result as one JSON document' },
  { flags: '-q, --quiet', text: 'say nothing but results, warnings and errors' },
  { flags: '-v, --verbose', text: 'show the causes behind an error' },
  {
    flags: '--concurrency <n>',
    text: 'large transfers at once, and eight times as many small ones (default: 4)',
    parse: parseCount('--concurrency', 1),
  },
  {
    flags: '--retries <n>',
    text: 'how often to try again what may pass (default: 4)',
    parse: parseCount('--retries', 0),
  },
  { flags: '--ca <file>', text: 'PEM file of certificate authorities to trust beside the public ones' },
  {
    flags: '--insecure-host <host>',
    text: 'registry (HOST or HOST:PORT) to be spoken to by plain HTTP, or S3 store whose certificate is not checked; can be given again',
    parse: collect,
  },
  {
    flags: '--hosts-dir <dir>',
    text: 'mirrors and certificates of registries, as containerd has them (default: /etc/containerd/certs.d)',
  },
  {
    flags: '--progress <kind>',
    text: 'how progress is shown, on standard error',
    choices: ['auto', 'tty', 'plain', 'json', 'none'],
    fallback: 'auto',
  },
];

/** The same as parsed. */
export interface CommonFlags {
  json?: boolean;
  progress: 'auto' | 'tty' | 'plain' | 'json' | 'none';
  quiet?: boolean;
  verbose?: boolean;
  concurrency?: number;
  retries?: number;
  ca?: string;
  insecureHost?: string[];
  hostsDir?: string;
}

/** The rules of `--deny`; none when it was not given. @throws E_USAGE */
export async function denied(value: unknown): Promise<DenyRule[]> {
  return value === undefined ? [] : (await import('../hub/safety/policy.ts')).parseDeny(text(value) ?? '');
}

/** What was given to a flag; undefined when it was not given. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** `--key` and `--require`. */
export function trust(flags: Record<string, unknown>): TrustOptions {
  return { keys: flags['key'] as string[] | undefined, require: flags['require'] as number | undefined };
}

/** What `signFlags` were given. */
export function signing(flags: Record<string, unknown>): SigningOptions {
  return {
    sign: text(flags['sign']),
    signCommand: text(flags['signCmd']),
    signPublic: text(flags['signPub']),
    passphraseFile: text(flags['passphraseFile']),
  };
}

/** Of a flag that may be given more than once; empty when it was not given. */
export function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

/** For flags that may be given more than once. */
export function collect(value: string, before: unknown): string[] {
  return [...(Array.isArray(before) ? before.map(String) : []), value];
}
