import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError } from '../core/errors.ts';
import { type PemFile, readPem, type TlsParts, type TlsSettings, tlsSettings } from './tls.ts';

/** Finds how TLS is spoken to a host (`name` or `name:port`); undefined means as to any other. @throws E_USAGE */
export type TlsFinder = (host: string) => Promise<TlsSettings | undefined>;

/**
 * The settings of all `certs.d` directories together, read when a host is first spoken to.
 * @param directories a client certificate is taken from the first that has one
 * @param trusted authorities for every host
 */
export function findHostTls(directories: readonly string[], trusted: () => Promise<readonly PemFile[]>): TlsFinder {
  const known = new Map<string, Promise<TlsSettings | undefined>>();
  const read = async (host: string): Promise<TlsSettings | undefined> => {
    const places = directories.flatMap((directory) => namesOf(host).map((name) => join(directory, name)));
    const found = (await Promise.all(places.map(readCertificates))).filter((parts) => parts !== undefined);
    if (found.length === 0) return undefined;
    return tlsSettings({
      authorities: [...(await trusted()), ...found.flatMap(({ authorities = [] }) => authorities)],
      client: found.find(({ client }) => client !== undefined)?.client,
    });
  };
  return async (host) => {
    const settings = known.get(host) ?? read(host);
    known.set(host, settings);
    return settings;
  };
}

/** An address leaves out the port of its scheme, and Docker Hub is not called what it answers on. */
function namesOf(host: string): string[] {
  const names = host === 'registry-1.docker.io' ? [host, 'docker.io'] : [host];
  return [...names, ...names.filter((name) => !/:\d+$/.test(name)).map((name) => `${name}:443`)];
}

/**
 * What a directory of docker, podman or skopeo says of a host: `*.crt` are authorities, `*.cert` with the `*.key` of the
 * same name is what we show. https://docs.docker.com/engine/security/certificates/
 * @returns undefined when there is nothing
 * @throws E_USAGE
 */
export async function readCertificates(directory: string): Promise<TlsParts | undefined> {
  const names = await namesIn(directory);
  const crt = names.filter((name) => name.endsWith('.crt'));
  const [cert] = names.filter((name) => name.endsWith('.cert'));
  const lone = names.find((name) => name.endsWith('.key') && !names.includes(name.replace(/\.key$/, '.cert')));
  if (cert === undefined && lone !== undefined)
    throw new MirrorError('E_USAGE', `\`${join(directory, lone)}\` has no certificate beside it`, {
      hint: `put it there as \`${lone.replace(/\.key$/, '.cert')}\`; \`.crt\` is for authorities`,
    });
  if (crt.length === 0 && cert === undefined) return undefined;
  return {
    authorities: await Promise.all(crt.map((name) => readPem(join(directory, name)))),
    client: cert === undefined ? undefined : await readPair(directory, cert),
  };
}

async function readPair(directory: string, name: string): Promise<{ certificate: PemFile; key: PemFile }> {
  const [certificate, key] = await Promise.all(
    [name, name.replace(/\.cert$/, '.key')].map((each) => readPem(join(directory, each))),
  );
  if (!certificate || !key) throw new Error('two files were read');
  return { certificate, key };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    // What another user's daemon keeps for itself is not meant for us.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EINVAL'].includes(code)) return [];
    throw error;
  }
}
