import { type ErrorPlace, MirrorError } from '../../core/errors.ts';
import type { HttpRequest, HttpResponse } from '../../http/client.ts';
import { type Credential, sameCredential } from './credentials.ts';
import { Secrets } from './secrets.ts';
import { basicHeader, bearerHeader, readToken, requestToken, type TokenRequest } from './token.ts';

/** One challenge of a WWW-Authenticate header: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 */
export interface Challenge {
  /** Lower case. */
  scheme: string;
  parameters: Record<string, string>;
}

/** Reads all challenges of a header; commas inside quotes belong to a value. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const token = /\s*,?\s*(?:([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([\w-]+)(?=\s|,|$))/y;
  for (let match = token.exec(header); match; match = token.exec(header)) {
    const [, name, quoted, bare, scheme] = match;
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: {} });
    else if (name !== undefined) {
      const last = challenges.at(-1);
      if (last) last.parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '';
    }
  }
  return challenges;
}

interface Token {
  header: string;
  /** On our own clock: the server's may be wrong. */
  freshUntil: number;
  credential: Credential | undefined;
}

/** What the authentication of one registry needs of the world. */
export interface AuthOptions {
  /** Where the registry is asked: scheme, host and port. */
  origin: string;
  /** Sends a request that goes to the registry or its token server. */
  send: (request: HttpRequest) => Promise<HttpResponse>;
  /** Refuses an address to which the registry must not send us. @throws E_PROTOCOL */
  checkRealm: (realm: URL) => Promise<void>;
  /** @param refused a credential that was not taken */
  credential: (repository: string, refused?: Credential) => Promise<Credential | undefined>;
  /** Address of the API's root, which tells its challenge without being asked for anything. */
  ping: URL;
  at: ErrorPlace;
}

/** Gets and keeps what one registry wants to see in the Authorization header. */
export class RegistryAuth {
  readonly #options: AuthOptions;
  #challenge: Challenge | undefined;
  #pinged: Promise<Challenge | undefined> | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();
  readonly #secrets = new Secrets();

  constructor(options: AuthOptions) {
    this.#options = options;
  }

  /**
   * The header for a request on a repository that needs `scope` (several are separated by blanks); undefined as long as
   * the registry has not asked for any.
   * @throws E_AUTH, E_USAGE, E_PROTOCOL, E_NETWORK
   */
  async header(scope: string, repository: string): Promise<string | undefined> {
    if (!this.#challenge) return undefined;
    const known = this.#tokens.get(scope);
    if (known) {
      const token = await known;
      if (token.freshUntil > Date.now()) return token.header;
      // Somebody else who waited for the same token has begun to renew it.
      if (this.#tokens.get(scope) !== known) return this.header(scope, repository);
    }
    return (await this.#renew(this.#challenge, scope, repository)).header;
  }

  /**
   * Learns from an answer 401, which must have come from the registry itself.
   * @param sent the header that was refused
   * @returns whether another try can help
   */
  async learn(response: HttpResponse, scope: string, repository: string, sent: string | undefined): Promise<boolean> {
    const challenge =
      choose(parseChallenges(response.headers['www-authenticate'] ?? '')) ??
      this.#challenge ??
      (await (this.#pinged ??= this.#ping()));
    if (!challenge) return false;
    this.#challenge = challenge;
    if (sent === undefined) return true;
    const token = await this.#tokens.get(scope)?.catch(() => undefined);
    // Somebody who was refused the same has renewed it already.
    if (token?.header !== sent) return true;
    this.#tokens.delete(scope);
    if (challenge.scheme === 'bearer') return token.credential?.kind !== 'access';
    return !sameCredential(await this.#options.credential(repository, token.credential), token.credential);
  }

  /** A text of the registry without what it was shown. */
  redact(text: string): string {
    return this.#secrets.redact(text);
  }

  /** Some registries name their challenge only there. */
  async #ping(): Promise<Challenge | undefined> {
    const response = await this.#options.send({ method: 'GET', url: this.#options.ping, at: this.#options.at });
    await response.discard();
    const own = response.url.origin === this.#options.origin && response.status === 401;
    return own ? choose(parseChallenges(response.headers['www-authenticate'] ?? '')) : undefined;
  }

  async #renew(challenge: Challenge, scope: string, repository: string): Promise<Token> {
    const renewal = challenge.scheme === 'basic' ? this.#basic(repository) : this.#bearer(challenge, scope, repository);
    this.#tokens.set(scope, renewal);
    try {
      return await renewal;
    } catch (error) {
      this.#tokens.delete(scope);
      throw error;
    }
  }

  async #basic(repository: string): Promise<Token> {
    const credential = await this.#credential(repository);
    if (credential?.kind !== 'basic') throw this.#noCredential();
    return { header: basicHeader(credential), freshUntil: Infinity, credential };
  }

  /** https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/ */
  async #bearer(challenge: Challenge, scope: string, repository: string): Promise<Token> {
    const credential = await this.#credential(repository);
    if (credential?.kind === 'access')
      return { header: bearerHeader(credential.token), freshUntil: Infinity, credential };
    const request: TokenRequest = {
      realm: await this.#realm(challenge),
      service: challenge.parameters['service'],
      scope,
      at: this.#options.at,
    };
    let used = credential;
    let response = await requestToken(this.#options.send, request, used);
    if (isRefusal(response) && used) {
      // A helper may have a newer one.
      const other = await this.#credential(repository, used);
      if (other && other.kind !== 'access' && !sameCredential(other, used)) {
        await response.discard();
        used = other;
        response = await requestToken(this.#options.send, request, used);
      }
    }
    if (isRefusal(response)) {
      await response.discard();
      throw used ? this.#refused(request.realm, response.status) : this.#noCredential();
    }
    const { token, freshUntil } = await readToken(response, this.#options.at, (text) => this.redact(text));
    this.#secrets.note({ kind: 'access', token });
    return { header: bearerHeader(token), freshUntil, credential: used };
  }

  async #credential(repository: string, refused?: Credential): Promise<Credential | undefined> {
    const credential = await this.#options.credential(repository, refused);
    this.#secrets.note(credential);
    return credential;
  }

  /** @throws E_PROTOCOL for a realm to which a password must not go */
  async #realm(challenge: Challenge): Promise<URL> {
    const { origin, at, checkRealm } = this.#options;
    const text = challenge.parameters['realm'] ?? '';
    if (text === '' || !URL.canParse(text, origin))
      throw new MirrorError('E_PROTOCOL', `\`${this.#host}\` names no token address that can be read`, { at });
    const realm = new URL(text, origin);
    await checkRealm(realm);
    return realm;
  }

  #refused(realm: URL, status: number): MirrorError {
    return new MirrorError('E_AUTH', `\`${realm.host}\` refused the credentials for \`${this.#host}\``, {
      hint: `log in again with \`docker login ${this.#host}\``,
      at: { ...this.#options.at, status },
    });
  }

  #noCredential(): MirrorError {
    return new MirrorError('E_AUTH', `\`${this.#host}\` wants credentials, and there are none for it`, {
      hint: `log in with \`docker login ${this.#host}\``,
      at: this.#options.at,
    });
  }

  get #host(): string {
    return new URL(this.#options.origin).host;
  }
}

function choose(challenges: readonly Challenge[]): Challenge | undefined {
  return challenges.find(({ scheme }) => scheme === 'bearer') ?? challenges.find(({ scheme }) => scheme === 'basic');
}

function isRefusal({ status }: HttpResponse): boolean {
  return status === 401 || status === 403;
}
