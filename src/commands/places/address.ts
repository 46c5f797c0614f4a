import { MirrorError } from '../../core/errors.ts';

/** Addresses are printed; one with a password in it must not be. */
export function hasPassword(address: string): boolean {
  const { username, password } = new URL(address);
  return username !== '' || password !== '';
}

/** The address of a gateway or a worker, as a user gives it. @throws E_USAGE */
export function checkAddress(url: string): void {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw refusal(`\`${url}\` is no address`, 'write it as `http://HOST:PORT` or `https://HOST`');
  if (hasPassword(url)) throw refusal('the address holds a password', 'take it out, and set SIE_AUTH_TOKEN');
  if (/[?#]/.test(url))
    throw refusal(
      `\`${url.split(/[?#]/)[0] ?? ''}\` has a query or a fragment behind it`,
      'leave it out: paths are put behind the address',
    );
}

function refusal(message: string, hint: string): MirrorError {
  return new MirrorError('E_USAGE', message, { hint });
}
