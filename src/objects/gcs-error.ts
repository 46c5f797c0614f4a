import { type ErrorCode, type ErrorPlace, MirrorError } from '../core/errors.ts';

/** What Google's client throws, as far as it says anything. */
interface GcsFailure {
  code?: number | string;
  status?: number;
  message?: string;
  response?: { status?: number; statusCode?: number };
  errors?: { reason?: string }[];
}

const connectionCodes: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'unknown host',
};

/** A failure of the service or of the way to it, in our words. */
export function translateGcs(error: unknown, bucket: string, action: string, at: ErrorPlace): MirrorError {
  const failure = error as GcsFailure;
  const text = failure.message ?? String(error);
  const status = statusOf(failure);
  const place = status === undefined ? at : { ...at, status };
  const make = (code: ErrorCode, message: string, hint?: string): MirrorError =>
    new MirrorError(code, message, { hint, at: place, cause: error });
  if (status === 404 && /bucket does not exist/i.test(text))
    return make('E_NOT_FOUND', `there is no bucket \`${bucket}\``, 'create the bucket, or check the spelling');
  if (status === 404) return make('E_NOT_FOUND', `an object that was there is gone from \`${bucket}\``);
  if (status === 403)
    return make(
      'E_AUTH',
      `not allowed in the bucket \`${bucket}\`: \`${action}\` was refused`,
      'give this account a role that has that permission, such as `roles/storage.objectAdmin`',
    );
  if (status === 401 || /credential|invalid_grant|file at .* does not exist/i.test(text))
    return make(
      'E_AUTH',
      `there are no good credentials for \`gs://${bucket}\``,
      'set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run where Workload Identity gives one',
    );
  if (status === 429) return make('E_RATE_LIMIT', `the store of \`${bucket}\` asks to slow down`);
  if (status === 412) return make('E_REFUSED', `\`${bucket}\` does not let an object be replaced: \`${text}\``);
  const reason = connectionCodes[String(failure.code)];
  if (reason !== undefined) return make('E_NETWORK', `the store of \`${bucket}\`: ${reason}`);
  const isPassing = status === undefined || status >= 500 || status === 408;
  return make(isPassing ? 'E_NETWORK' : 'E_REMOTE', `\`gs://${bucket}\`: ${text.split('\n')[0]}`);
}

function statusOf({ code, status, response }: GcsFailure): number | undefined {
  const found = [code, status, response?.status, response?.statusCode].map(Number);
  return found.find((each) => each >= 100 && each < 600);
}
