import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HttpClient } from '../../src/http/client.ts';
import { findHostTls } from '../../src/http/host-certificates.ts';
import { Registry } from '../../src/oci/registry/registry.ts';
import { failureOf } from '../support/failures.ts';
import { pem, tlsPath } from '../support/tls.ts';
import { type RealServer, startDistribution } from './servers.ts';
import { installTools } from './tools.ts';

/** A registry that wants client certificates: its TLS is Go's, which refuses in ways that the TLS of Node.js never shows. */

let server: RealServer;
let directory: string;

beforeAll(async () => {
  await installTools();
  directory = await mkdtemp(join(tmpdir(), 'sie-mirror-tls-'));
  server = await startDistribution(directory, {
    tls: { certificate: tlsPath('server.pem'), key: tlsPath('server.key'), clientAuthority: tlsPath('ca.pem') },
  });
  const certificates = join(directory, 'certs.d', server.host);
  await mkdir(certificates, { recursive: true });
  await writeFile(join(certificates, 'client.cert'), pem('client.pem'));
  await writeFile(join(certificates, 'client.key'), pem('client.key'));
  await writeFile(join(certificates, 'ca.crt'), pem('ca.pem'));
});

afterAll(async () => {
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function resolveWith(options: Partial<ConstructorParameters<typeof HttpClient>[0]>): Promise<unknown> {
  const http = new HttpClient({ userAgent: 'test', ...options });
  const registry = new Registry(server.host, 'source', http, () => Promise.resolve(undefined));
  try {
    return await registry.repository('a/b').resolve('none');
  } finally {
    await http.close();
  }
}

it('is reached with the certificate of certs.d', async () => {
  const tlsOf = findHostTls([join(directory, 'certs.d')], () => Promise.resolve([]));

  expect((await failureOf(resolveWith({ tlsOf }))).code).toBe('E_NOT_FOUND');
});

it('is said to want a certificate when it gets none', async () => {
  const error = await failureOf(resolveWith({ ca: pem('ca.pem') }));

  expect(error.code).toBe('E_TLS');
  expect(error.message).toContain('client certificate');
});

it('is said to speak HTTPS when it is asked by plain HTTP', async () => {
  const error = await failureOf(resolveWith({ insecureHosts: [server.host] }));

  expect(error.code).toBe('E_PROTOCOL');
  expect(error.hint).toContain('--insecure-host');
});
