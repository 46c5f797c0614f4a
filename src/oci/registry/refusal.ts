import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import type { HttpResponse } from '../../http/client.ts';
import { statusError } from '../../http/failure.ts';
import { parseChallenges } from '../access/auth.ts';
import { readErrors } from './error-codes.ts';

/** An answer that says no. */
export interface Refusal {
  status: number;
  /** The registry's own code, e.g. `MANIFEST_UNKNOWN`; empty when it gave none. */
  name: string;
  /** The whole body. */
  text: string;
  error: MirrorError;
}

interface Asked {
  at: ErrorPlace;
  /** What was asked for, as people call it. */
  item: string;
  host: string;
  /** Where the registry itself is asked: `https://host:port`. */
  origin: string;
  repository: string;
  /** Whether something was to be changed there. */
  writes: boolean;
}

/** What a refusal means for the user, and what to do about it. */
export function refusalOf(response: HttpResponse, text: string, asked: Asked): Refusal {
  const { name, code, said } = readErrors(text, response.status);
  return { status: response.status, name, text, error: errorOf() };

  function errorOf(): MirrorError {
    const at = { ...asked.at, status: response.status };
    const why = `(${response.status}${said === '' ? '' : `: ${printable(said)}`})`;
    if (asked.writes && name === 'NAME_UNKNOWN')
      return new MirrorError('E_REFUSED', `the target has no repository \`${asked.repository}\` ${why}`, {
        hint: `create it, then run the same command again: ${creation(asked, text)}`,
        at,
      });
    if (asked.writes && response.status === 405)
      return new MirrorError('E_REFUSED', `\`${asked.host}\` takes nothing: it is read-only ${why}`, {
        hint: 'name a registry that may be pushed to, or have this one made writable',
        at,
      });
    if (code === 'E_NOT_FOUND')
      return new MirrorError(code, `\`${asked.item}\` is not there`, {
        hint: 'check the spelling; registries also answer so for what you may not see',
        at,
      });
    if (code === 'E_AUTH' && response.url.origin !== asked.origin)
      return new MirrorError(code, `\`${response.url.host}\`, where \`${asked.host}\` sent us, refuses ${why}`, {
        hint: 'credentials do not go there, and signed addresses are short-lived: let the host through proxy and firewall, and check the clock',
        at,
      });
    const unknown = response.status === 401 ? unknownSchemes(response) : '';
    if (unknown !== '')
      return new MirrorError(
        code,
        `\`${asked.host}\` wants a login by ${unknown}, and by nothing that registries use`,
        {
          hint: 'ask who runs it for a way in with a password or a token, past the proxy that wants this',
          at,
        },
      );
    if (code === 'E_AUTH')
      return new MirrorError(code, `\`${asked.item}\`: not authorised ${why}`, { hint: loginHint(asked), at });
    return statusError(response, asked.at, said, code);
  }
}

/** What a server asks for that offers neither a password nor a token, by name. */
function unknownSchemes({ headers }: HttpResponse): string {
  const schemes = parseChallenges(headers['www-authenticate'] ?? '').map(({ scheme }) => scheme);
  return schemes.some((scheme) => scheme === 'basic' || scheme === 'bearer')
    ? ''
    : schemes.map((scheme) => `\`${printable(scheme)}\``).join(', ');
}

function loginHint({ at, host }: Asked): string {
  const login = `log in with \`docker login ${host}\` as a user who may`;
  return at.side === 'target'
    ? `${login} push there; registries also answer so when the repository does not exist or is read-only`
    : `${login} pull there; registries also answer so when the repository does not exist`;
}

/** ECR is the one that people meet; it speaks of the account as a registry with an id. */
function creation({ host, repository }: Asked, text: string): string {
  return /\.dkr\.ecr[.-]|^public\.ecr\.aws/.test(host) || /registry with id/.test(text)
    ? `\`aws ecr create-repository --repository-name ${repository}\``
    : `the registry makes none by itself when something is pushed`;
}
