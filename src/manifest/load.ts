import { MirrorError } from '../core/errors.ts';
import { checkRelativePath } from '../core/path.ts';
import { distance, inBackticks, printable } from '../core/text.ts';
import { parseJson, validate } from '../core/validate.ts';
import { type Lock, lockSchema, lockSchemaId, type MirrorManifest, mirrorManifestSchema } from './schema.ts';

/**
 * Reads what the user wrote: a mirror manifest in YAML, or a lock in JSON (which is YAML too).
 * @param name of the file, for messages
 * @throws E_MANIFEST, naming line, place and the nearest known key; E_CORRUPT for a lock whose paths leave the store
 */
export async function loadManifest(
  text: string,
  name: string,
): Promise<{ kind: 'manifest'; manifest: MirrorManifest } | { kind: 'lock'; lock: Lock }> {
  // JSON is YAML too, but a lock of many files would take a YAML reader seconds and gigabytes.
  const value = text.trimStart().startsWith('{')
    ? parseJson(text, name, 'E_MANIFEST')
    : (await import('./yaml.ts')).readYaml(text, name);
  if ((value as { schema?: unknown } | null)?.schema === lockSchemaId)
    return { kind: 'lock', lock: loadLock(value, name) };
  checkKeys(value, name);
  return { kind: 'manifest', manifest: validate(mirrorManifestSchema, value, name, 'E_MANIFEST') };
}

/** A lock may have come from somebody else: nothing of it that becomes a path may leave the store. */
function loadLock(value: unknown, name: string): Lock {
  const lock = validate(lockSchema, value, name, 'E_MANIFEST');
  for (const { revision, files, notices = [] } of lock.models)
    for (const path of [revision, ...[...files, ...notices].map((file) => file.path)])
      checkRelativePath(path, `\`${name}\``);
  return lock;
}

/** Zod would name the unknown key; the one that was meant helps more. */
function checkKeys(value: unknown, name: string): void {
  const found = mirrorManifestSchema.safeParse(value);
  const issue = found.error?.issues.find(({ code }) => code === 'unrecognized_keys');
  if (issue?.code !== 'unrecognized_keys') return;
  const [key = ''] = issue.keys;
  const known = knownKeys(issue.path);
  const nearest = [...known].sort((a, b) => distance(key, a) - distance(key, b))[0] ?? '';
  const place = issue.path.length > 0 ? ` at \`${issue.path.map(String).join('.')}\`` : '';
  const hint = distance(key, nearest) <= 3 ? `did you mean \`${nearest}\`?` : `known keys there: ${inBackticks(known)}`;
  throw new MirrorError('E_MANIFEST', `\`${name}\` has the unknown key \`${printable(key)}\`${place}`, { hint });
}

function knownKeys(path: readonly PropertyKey[]): string[] {
  const { shape } = mirrorManifestSchema;
  const inner: Record<string, Record<string, unknown>> = {
    metadata: shape.metadata.shape,
    models: shape.models.unwrap().element.shape,
    images: shape.images.unwrap().element.shape,
    files: shape.files.unwrap().element.shape,
    rewrite: shape.rewrite.unwrap().element.shape,
  };
  return Object.keys(inner[String(path[0])] ?? shape);
}
