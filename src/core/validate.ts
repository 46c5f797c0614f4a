import { type Digest, isDigest } from './digest.ts';
import { type ErrorCode, MirrorError } from './errors.ts';
import { printable } from './text.ts';
import * as z from './zod.ts';

/** A digest as documents name it. */
export const digestSchema = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value),
  'is not a digest',
);

/**
 * Checks parsed data against a schema.
 * @throws `code`, naming the first place that is wrong
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, item: string, code: ErrorCode = 'E_CORRUPT'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const place = issue && issue.path.length > 0 ? ` at \`${printable(issue.path.map(String).join('.'))}\`` : '';
  throw new MirrorError(code, `\`${printable(item)}\`${place}: ${printable(issue?.message ?? 'is not valid')}`, {
    cause: result.error,
  });
}

/** @throws `code` when the text is not JSON */
export function parseJson(text: string | Uint8Array, item: string, code: ErrorCode = 'E_CORRUPT'): unknown {
  try {
    return JSON.parse(
      typeof text === 'string' ? text : Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('utf8'),
    ) as unknown;
  } catch {
    // The engine's own error quotes the text, which may be a password.
    throw new MirrorError(code, `\`${printable(item)}\` is not valid JSON`);
  }
}
