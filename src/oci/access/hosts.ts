import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { isDirectory } from '../../fs/directories.ts';
import { MirrorError } from '../../core/errors.ts';
import { validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { readCertificates } from '../../http/host-certificates.ts';
import { type PemFile, readPem, type TlsParts, type TlsSettings, tlsSettings } from '../../http/tls.ts';
import type { RegistryEndpoint } from './access.ts';
import { dockerHub } from '../reference.ts';

/** Where a registry, or one of its mirrors, is asked, and for what. */
export interface ConfiguredHost {
  endpoint: RegistryEndpoint;
  /** Asked which digest a tag names. */
  resolves: boolean;
  /** Asked for manifests and blobs by digest. */
  pulls: boolean;
}

/** What hosts.toml says of a registry. */
export interface HostConfiguration {
  /** In the order in which they are asked. */
  mirrors: ConfiguredHost[];
  /** The registry itself, which is asked last. */
  server: ConfiguredHost;
  /** Hosts whose certificates are not checked, because it says so. */
  unchecked: string[];
}

export interface HostsOptions {
  /** A directory with one for each registry. */
  root: string;
  /** Whether the user named it: then it has to be there. */
  named: boolean;
  /** Authorities for every host. */
  trusted: () => Promise<readonly PemFile[]>;
}

const list = z.union([z.string().transform((one) => [one]), z.array(z.string())]);
const hostSchema = z.looseObject({
  capabilities: z.array(z.enum(['pull', 'resolve', 'push', 'referrers'])).optional(),
  ca: list.optional(),
  client: z.union([z.string(), z.array(z.union([z.string(), z.array(z.string()).min(1).max(2)]))]).optional(),
  skip_verify: z.boolean().optional(),
  override_path: z.boolean().optional(),
  header: z.record(z.string(), list).optional(),
});
const fileSchema = hostSchema.extend({
  server: z.string().optional(),
  host: z.record(z.string(), hostSchema).optional(),
});

type HostTable = z.infer<typeof hostSchema>;

/**
 * What containerd's directory says of a registry: https://github.com/containerd/containerd/blob/main/docs/hosts.md
 * `HOST_PORT_/`, `HOST:PORT/`, `HOST/` or `_default/` with `hosts.toml`, or with certificates as docker has them.
 * @param direct how the registry is asked when nothing else is said
 * @returns undefined when nothing is said of it
 * @throws E_USAGE, naming the file
 */
export async function readHosts(
  direct: RegistryEndpoint,
  options: HostsOptions,
): Promise<HostConfiguration | undefined> {
  const directory = await directoryOf(direct.host, options);
  if (directory === undefined) return undefined;
  const file = join(directory, 'hosts.toml');
  const text = await readText(file);
  const read = new HostReader(direct, directory, file, options);
  if (text !== undefined) return read.configuration(await parseToml(text, file));
  const parts = await readCertificates(directory);
  return parts && read.certificates(parts);
}

async function directoryOf(host: string, { root, named }: HostsOptions): Promise<string | undefined> {
  if (!(await isDirectory(root))) {
    if (!named) return undefined;
    throw new MirrorError('E_USAGE', `\`--hosts-dir ${root}\`: there is no such directory`);
  }
  const withPort = host.replace(/:(\d+)$/, '_$1_');
  for (const name of new Set([withPort, host, '_default'])) {
    const directory = join(root, name);
    if (await isDirectory(directory)) return directory;
  }
  return undefined;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code = 'an error' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new MirrorError('E_USAGE', `\`${path}\` cannot be read (${code})`, {
      hint: 'let it be read, or name another directory with `--hosts-dir`',
      cause: error,
    });
  }
}

async function parseToml(text: string, path: string): Promise<z.infer<typeof fileSchema>> {
  const { parse, TomlError } = await import('smol-toml');
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    // Its message quotes the file, in which a header may hold a token.
    const line = error instanceof TomlError ? `, line ${error.line}` : '';
    throw new MirrorError('E_USAGE', `\`${path}\`${line}: this is not valid TOML`);
  }
  return validate(fileSchema, document, path, 'E_USAGE');
}

/** Makes endpoints of the tables of one file. */
class HostReader {
  readonly #direct: RegistryEndpoint;
  readonly #directory: string;
  readonly #file: string;
  readonly #options: HostsOptions;

  constructor(direct: RegistryEndpoint, directory: string, file: string, options: HostsOptions) {
    this.#direct = direct;
    this.#directory = directory;
    this.#file = file;
    this.#options = options;
  }

  async configuration(file: z.infer<typeof fileSchema>): Promise<HostConfiguration> {
    const tables = Object.entries(file.host ?? {});
    const mirrors = await Promise.all(tables.map(async ([address, table]) => this.#host(address, table)));
    const server = await this.#host(file.server || undefined, file);
    const unchecked = [...mirrors, server]
      .filter(({ endpoint }) => endpoint.tls?.verify === false)
      .map(({ endpoint }) => endpoint.host);
    return { mirrors, server, unchecked };
  }

  async certificates(parts: TlsParts): Promise<HostConfiguration> {
    const endpoint = { ...this.#direct, tls: await this.#tls(parts) };
    return { mirrors: [], server: { endpoint, resolves: true, pulls: true }, unchecked: [] };
  }

  async #host(address: string | undefined, table: HostTable): Promise<ConfiguredHost> {
    const endpoint: RegistryEndpoint = address === undefined ? { ...this.#direct } : this.#address(address, table);
    const { capabilities, header } = table;
    if (endpoint.origin.startsWith('https:')) endpoint.tls = await this.#tls(await this.#parts(table));
    if (header)
      endpoint.headers = Object.fromEntries(
        Object.entries(header).map(([name, values]) => [name.toLowerCase(), values.join(', ')]),
      );
    const may = (capability: 'pull' | 'resolve'): boolean =>
      capabilities === undefined || capabilities.length === 0 || capabilities.includes(capability);
    return { endpoint, resolves: may('resolve'), pulls: may('pull') };
  }

  #address(address: string, table: HostTable): RegistryEndpoint {
    const text = /^https?:\/\//.test(address) ? address : `https://${address}`;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || url.username !== '' || url.password !== '' || url.search !== '')
      throw new MirrorError('E_USAGE', `\`${this.#file}\`: a host is no address of a registry`, {
        hint: 'write it as `https://HOST:PORT/PATH`, and log in for its credentials',
      });
    const path = url.pathname.replace(/\/+$/, '');
    const root = table.override_path || path.endsWith('/v2') ? path : `${path}/v2`;
    const host = /^(?:registry-1|index)\.docker\.io$/.test(url.host) ? dockerHub : url.host;
    if (host !== this.#direct.host) return { host, origin: url.origin, root, namespace: this.#direct.host };
    // What was said on the command line goes before what a file says.
    const plain = this.#direct.origin.startsWith('http:') ? this.#direct.origin : undefined;
    return { host, origin: plain ?? url.origin, root };
  }

  /** Undefined when there is nothing that other hosts do not have. */
  async #parts({ ca, client, skip_verify: skip }: HostTable): Promise<TlsParts | undefined> {
    const pair = [client].flat()[0];
    if (!ca && pair === undefined && !skip) return undefined;
    const [certificate, key = certificate] = [pair ?? []].flat();
    return {
      authorities: await Promise.all((ca ?? []).map(async (path) => readPem(this.#path(path)))),
      client:
        certificate === undefined || key === undefined
          ? undefined
          : { certificate: await readPem(this.#path(certificate)), key: await readPem(this.#path(key)) },
      verify: skip !== true,
    };
  }

  async #tls(parts: TlsParts | undefined): Promise<TlsSettings | undefined> {
    if (!parts) return undefined;
    return tlsSettings({
      ...parts,
      authorities: [...(await this.#options.trusted()), ...(parts.authorities ?? [])],
    });
  }

  #path(path: string): string {
    return isAbsolute(path) ? path : join(this.#directory, path);
  }
}
