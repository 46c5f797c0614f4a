import { afterEach } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { HttpClient, type HttpClientOptions } from '../../src/http/client.ts';
import type { Credential } from '../../src/oci/access/credentials.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import type { RegistryRepository } from '../../src/oci/registry/repository.ts';
import { type Handler, type ServerOptions, TestServer } from './server.ts';

/** Servers that say little, a repository behind credentials that must not leak, and what each server was told. */

export const password = 'canary-password';
export const identity = 'canary-identity';
export const token = 'canary-token';
export const basic = { kind: 'basic', user: 'me', password } as const satisfies Credential;
export const bytes = Buffer.from('content');
export const blob = { mediaType: 'application/octet-stream', digest: sha256(bytes), size: bytes.length };

/** Is closed after the test. */
export const opened: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
});

export async function start(handler: Handler, tls?: ServerOptions['tls']): Promise<TestServer> {
  const server = await TestServer.start(handler, tls === undefined ? {} : { tls });
  opened.push(server);
  return server;
}

/** Answers everything with 200 and the content, and remembers what came. */
export const stranger = async (): Promise<TestServer> =>
  start((_, response) => {
    response.end(bytes);
    return true;
  });

export function repositoryAt(
  host: string,
  credential: Credential = basic,
  options: Partial<HttpClientOptions> = {},
): RegistryRepository {
  const client = new HttpClient({ userAgent: 'test', insecureHosts: [host], stallMs: 5000, ...options });
  opened.push(client);
  return new Registry(host, 'target', client, async () => Promise.resolve(credential)).repository('team/app');
}

export async function read(repository: RegistryRepository): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await repository.fetch(blob)).open(0)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** All that a server was told, with what is in base64. */
export function told(...servers: TestServer[]): string {
  return servers
    .flatMap(({ requests }) => requests)
    .map(({ path, headers }) => {
      const authorization = headers.authorization ?? '';
      return `${path} ${JSON.stringify(headers)} ${Buffer.from(authorization.replace(/^\w+ /, ''), 'base64').toString()}`;
    })
    .join('\n');
}

export const challenge = (response: Parameters<Handler>[1], header: string): true => {
  response.writeHead(401, { 'www-authenticate': header }).end();
  return true;
};
