import { readFileSync } from 'node:fs';
import type { ServerOptions } from 'node:https';
import { join } from 'node:path';
import { projectRoot } from './cli.ts';

/** Path of a file of fixtures/tls. */
export function tlsPath(name: string): string {
  return join(projectRoot, 'fixtures/tls', name);
}

/** PEM text of a file of fixtures/tls. */
export function pem(name: string): string {
  return readFileSync(tlsPath(name), 'utf8');
}

/** What a server needs to speak TLS; its key belongs to every certificate of a server there. */
export function serverTls(
  certificate: 'server' | 'expired' | 'other-name' = 'server',
  options: { clientAuthority?: string } = {},
): ServerOptions {
  const { clientAuthority } = options;
  return {
    cert: pem(`${certificate}.pem`),
    key: pem('server.key'),
    ...(clientAuthority === undefined ? {} : { ca: pem(clientAuthority), requestCert: true, rejectUnauthorized: true }),
  };
}
