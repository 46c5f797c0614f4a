import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import type { HttpRequest, HttpResponse } from '../../http/client.ts';
import { parseChallenges, RegistryAuth } from './auth.ts';

/**
 * Tokens of other hosts that a registry redirects to, where those are registries that give one to anybody. They are shown
 * no credential, and have to give the token themselves: nobody is asked on the word of a host that the user did not name.
 */
export class TokensForAnybody {
  readonly #send: (request: HttpRequest) => Promise<HttpResponse>;
  readonly #auths = new Map<string, RegistryAuth>();

  constructor(send: (request: HttpRequest) => Promise<HttpResponse>) {
    this.#send = send;
  }

  /** @returns what to send there in the Authorization header; undefined when there is no such token */
  async header(refusal: HttpResponse, at: ErrorPlace): Promise<string | undefined> {
    const challenges = parseChallenges(refusal.headers['www-authenticate'] ?? '');
    const scope = challenges.find(({ scheme }) => scheme === 'bearer')?.parameters['scope'] ?? '';
    if (scope === '') return undefined;
    const { origin } = refusal.url;
    const auth = this.#auths.get(origin) ?? this.#authOf(origin, at);
    this.#auths.set(origin, auth);
    try {
      return (await auth.learn(refusal, scope, '', undefined)) ? await auth.header(scope, '') : undefined;
    } catch (error) {
      if (error instanceof MirrorError && (error.code === 'E_AUTH' || error.code === 'E_PROTOCOL')) return undefined;
      throw error;
    }
  }

  #authOf(origin: string, at: ErrorPlace): RegistryAuth {
    return new RegistryAuth({
      origin,
      send: this.#send,
      checkRealm: async (realm) => {
        if (realm.origin !== origin)
          throw new MirrorError('E_PROTOCOL', `\`${new URL(origin).host}\` has tokens elsewhere`, { at });
        return Promise.resolve();
      },
      credential: async () => Promise.resolve(undefined),
      ping: new URL('/v2/', origin),
      at,
    });
  }
}
