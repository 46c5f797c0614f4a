import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { SecureContext } from 'node:tls';
import { MirrorError } from '../core/errors.ts';

/** How TLS is spoken to a host; made once, so that no connection has to read the authorities again. */
export interface TlsSettings {
  readonly context: SecureContext;
  /** False where the user wants no certificate checked. */
  readonly verify: boolean;
}

/** PEM text, and where it was found. */
export interface PemFile {
  path: string;
  text: string;
}

export interface TlsParts {
  /** Trusted beside the public authorities. */
  authorities?: readonly PemFile[];
  /** Shown to a server that asks for it. */
  client?: { certificate: PemFile; key: PemFile } | undefined;
  verify?: boolean;
}

/** @throws E_USAGE, naming the file that is not what it should be */
export async function tlsSettings({ authorities = [], client, verify = true }: TlsParts): Promise<TlsSettings> {
  // Loading it takes longer than some commands run.
  const { createSecureContext, rootCertificates } = await import('node:tls');
  for (const file of authorities) checkCertificate(file);
  if (client) checkCertificate(client.certificate);
  try {
    const context = createSecureContext({
      ca: [...rootCertificates, ...authorities.map(({ text }) => text)],
      ...(client ? { cert: client.certificate.text, key: client.key.text } : {}),
    });
    return { context, verify };
  } catch (error) {
    const place = client === undefined ? (authorities[0]?.path ?? 'authorities') : client.key.path;
    throw new MirrorError(
      'E_USAGE',
      `\`${place}\`: this is no private key in PEM form that belongs to \`${client?.certificate.path ?? place}\``,
      { hint: 'a key has to stand there without a password', cause: error },
    );
  }
}

function checkCertificate({ path, text }: PemFile): void {
  if (!isCertificate(text)) throw new MirrorError('E_USAGE', `\`${path}\` holds no certificate in PEM form`);
}

/** Only the first is parsed here: OpenSSL reads the others of a chain. */
function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).serialNumber !== '';
  } catch {
    return false;
  }
}

/** @throws E_USAGE, naming a file that cannot be read or holds no certificate */
export async function readAuthority(path: string): Promise<PemFile> {
  const file = await readPem(path);
  checkCertificate(file);
  return file;
}

/** @throws E_USAGE, naming the file */
export async function readPem(path: string): Promise<PemFile> {
  try {
    return { path, text: await readFile(path, 'utf8') };
  } catch (error) {
    throw new MirrorError(
      'E_USAGE',
      `\`${path}\` cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      {
        cause: error,
      },
    );
  }
}
