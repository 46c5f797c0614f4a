import { paddingOf, tarHeader, endBytes } from '../../bundle/writing/tar-header.ts';
import type { Report } from '../../core/report.ts';
import { toolName } from '../../core/version.ts';
import { writeFileAtomic } from '../../fs/atomic.ts';
import type { Context } from '../context.ts';

/** Variables of which a value says where things are, and none is a secret. */
const told = [
  'AWS_ENDPOINT_URL_S3',
  'AWS_ENDPOINT_URL',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'HF_HUB_OFFLINE',
  'NO_PROXY',
];
/** Of these only whether they are set. */
const hidden = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_PROFILE',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'HF_TOKEN',
  'NGC_API_KEY',
  'SIE_AUTH_TOKEN',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'DOCKER_CONFIG',
  'REGISTRY_AUTH_FILE',
];

/**
 * Writes what was found for somebody who cannot see the zone: a tar with `report.json`, `report.txt` and `settings.json`,
 * or by a name that ends in `.json` all of it in one document. Of the environment
 * only what says where things are is in it.
 * @param report without secrets
 */
export async function writeSupportFile(path: string, report: Report, context: Context): Promise<void> {
  const { summary, ...document } = report;
  const settings = {
    tool: toolName,
    set: Object.fromEntries(told.map((name) => [name, withoutCredentials(context.env[name])])),
    present: hidden.filter((name) => context.env[name] !== undefined),
  };
  if (path.endsWith('.json')) {
    await writeFileAtomic(path, `${JSON.stringify({ ...document, settings, summary }, undefined, 1)}\n`, 0o600);
    return;
  }
  const files = {
    'report.json': `${JSON.stringify(document, undefined, 1)}\n`,
    'report.txt': `${summary.join('\n')}\n`,
    'settings.json': `${JSON.stringify(settings, undefined, 1)}\n`,
  };
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const bytes = Buffer.from(text);
    return [
      tarHeader({ path: `sie-mirror-doctor/${name}`, size: bytes.length }),
      bytes,
      Buffer.alloc(paddingOf(bytes.length)),
    ];
  });
  await writeFileAtomic(path, Buffer.concat([...blocks, Buffer.alloc(endBytes)]), 0o600);
}

function withoutCredentials(address: string | undefined): string | undefined {
  return address?.replace(/\/\/[^/@\s]*@/, '//***@');
}
