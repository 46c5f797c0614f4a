import type { ErrorCode } from '../../core/errors.ts';
import * as z from '../../core/zod.ts';
import { codeOfStatus } from '../../http/failure.ts';

/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes */
const registryCodes: Record<string, ErrorCode> = {
  MANIFEST_BLOB_UNKNOWN: 'E_BLOB_UNKNOWN',
  BLOB_UNKNOWN: 'E_NOT_FOUND',
  NAME_UNKNOWN: 'E_NOT_FOUND',
  MANIFEST_UNKNOWN: 'E_NOT_FOUND',
  BLOB_UPLOAD_UNKNOWN: 'E_REMOTE',
  BLOB_UPLOAD_INVALID: 'E_REMOTE',
  RANGE_INVALID: 'E_REMOTE',
  DIGEST_INVALID: 'E_DIGEST_MISMATCH',
  SIZE_INVALID: 'E_SIZE_MISMATCH',
  MANIFEST_INVALID: 'E_REFUSED',
  TAG_INVALID: 'E_REFUSED',
  UNSUPPORTED: 'E_REFUSED',
  UNAUTHORIZED: 'E_AUTH',
  DENIED: 'E_AUTH',
  TOOMANYREQUESTS: 'E_RATE_LIMIT',
};

const errorSchema = z.object({ code: z.string(), message: z.string().optional(), detail: z.unknown().optional() });
const errorsSchema = z.object({ errors: z.array(errorSchema) });
type RegistryError = z.infer<typeof errorSchema>;

/** What `distribution` has against addresses of layers; it says so as an error of its own, which does not pass. */
const foreignRefused = /^(?:invalid|missing) URL on layer$/;

/**
 * What a registry said in the body of an answer.
 * @returns its own code (empty when it gave none), ours for it, and its words for people
 */
export function readErrors(text: string, status: number): { name: string; code: ErrorCode; said: string } {
  const errors = errorsIn(text);
  const [first] = errors;
  // With 413 SIZE_INVALID means too large, not another size than was announced.
  const telling = status < 500 && status !== 413;
  const told = telling ? registryCodes[first?.code ?? ''] : undefined;
  const lasting = errors.some(({ detail }) => typeof detail === 'string' && foreignRefused.test(detail));
  return {
    name: first?.code ?? '',
    code: lasting ? 'E_REFUSED' : (told ?? codeOfStatus(status)),
    said: [...new Set(errors.map(wordsOf))].join('; ').slice(0, 300),
  };
}

function errorsIn(text: string): RegistryError[] {
  try {
    return errorsSchema.parse(JSON.parse(text)).errors;
  } catch {
    return [];
  }
}

/** The detail is for people too, where it is text. */
function wordsOf({ code, message, detail }: RegistryError): string {
  return [code, message, typeof detail === 'string' ? detail : ''].filter(Boolean).join(': ');
}
