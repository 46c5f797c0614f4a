import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import { printable } from '../../core/text.ts';
import { type HttpResponse, redactUrl } from '../../http/client.ts';
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
    if (response.status >= 300 && response.status < 400) return sentAway(response, asked, at);
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
        hint: speaksHttps(asked, response.url)
          ? withoutInsecure(asked)
          : 'credentials do not go there, and signed addresses are short-lived: let the host through proxy and firewall, and check the clock',
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

/** A redirect that nobody can follow, or under which what is written would become a question. */
function sentAway({ status, headers, url }: HttpResponse, asked: Asked, at: ErrorPlace): MirrorError {
  const { location = '' } = headers;
  const to = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
  if (!to)
    return new MirrorError('E_PROTOCOL', `\`${url.host}\` answered ${status}, and does not say where to go`, { at });
  return new MirrorError(
    'E_PROTOCOL',
    `\`${url.host}\` answered ${status}: it sends what is written to \`${printable(redactUrl(to))}\`, in a way that would take its body away`,
    {
      hint: speaksHttps(asked, to)
        ? withoutInsecure(asked)
        : 'if the registry is there, name it so; if not, a page to log in or a proxy stands before it. Redirects of what is written have to be 307 or 308',
      at,
    },
  );
}

/** Whether the way to the registry leads to itself by HTTPS, where it was asked without. */
function speaksHttps({ origin }: Asked, to: URL): boolean {
  const asked = new URL(origin);
  return asked.protocol === 'http:' && to.protocol === 'https:' && asked.hostname === to.hostname;
}

function withoutInsecure({ host }: Asked): string {
  return `it speaks HTTPS: leave out \`--insecure-host ${host}\``;
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
