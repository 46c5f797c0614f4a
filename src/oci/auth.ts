import { type ErrorPlace, MirrorError } from '../core/errors.ts';
import { parseJson } from '../core/validate.ts';
import type { HttpClient, HttpResponse } from '../http/client.ts';
import { failure } from '../http/failure.ts';
import type { Credential } from './credentials.ts';

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
}

/** Gets and keeps what one registry wants to see in the Authorization header. */
export class RegistryAuth {
  readonly #client: HttpClient;
  readonly #origin: string;
  readonly #credential: () => Promise<Credential | undefined>;
  readonly #at: ErrorPlace;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();

  constructor(client: HttpClient, origin: string, credential: () => Promise<Credential | undefined>, at: ErrorPlace) {
    this.#client = client;
    this.#origin = origin;
    this.#credential = credential;
    this.#at = at;
  }

  /** The header for a request that needs `scope`, or several with spaces between them; undefined as long as the registry has not asked for any. */
  async header(scope: string): Promise<string | undefined> {
    if (!this.#challenge) return undefined;
    const known = this.#tokens.get(scope);
    if (known) {
      const token = await known;
      if (token.freshUntil > Date.now()) return token.header;
      // Somebody else who waited for the same token has begun to renew it.
      if (this.#tokens.get(scope) !== known) return this.header(scope);
    }
    return (await this.#renew(this.#challenge, scope)).header;
  }

  /**
   * Learns from an answer 401.
   * @returns whether another try can help
   */
  learn(response: HttpResponse, scope: string, sent: string | undefined): boolean {
    const challenges = parseChallenges(response.headers['www-authenticate'] ?? '');
    const challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic') ??
      this.#challenge;
    if (!challenge) return false;
    this.#challenge = challenge;
    if (sent === undefined) return true;
    this.#tokens.delete(scope);
    return challenge.scheme === 'bearer';
  }

  async #renew(challenge: Challenge, scope: string): Promise<Token> {
    const renewal = challenge.scheme === 'basic' ? this.#basic() : this.#bearer(challenge, scope);
    this.#tokens.set(scope, renewal);
    try {
      return await renewal;
    } catch (error) {
      this.#tokens.delete(scope);
      throw error;
    }
  }

  async #basic(): Promise<Token> {
    const credential = await this.#credential();
    if (credential?.kind !== 'basic') throw this.#noCredential();
    return { header: basicHeader(credential), freshUntil: Infinity };
  }

  /** https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/ */
  async #bearer(challenge: Challenge, scope: string): Promise<Token> {
    const realm = this.#realm(challenge);
    const service = challenge.parameters['service'];
    const credential = await this.#credential();
    const response =
      credential?.kind === 'identity'
        ? await this.#exchange(realm, service, scope, credential.token)
        : await this.#ask(realm, service, scope, credential);
    const place = { ...this.#at, status: response.status };
    if (response.status === 401 || response.status === 403) {
      await response.discard();
      if (!credential) throw this.#noCredential();
      throw new MirrorError('E_AUTH', `\`${realm.host}\` refused the credentials for \`${this.#host}\``, {
        hint: `log in again with \`docker login ${this.#host}\``,
        at: place,
      });
    }
    if (response.status !== 200) throw await failure(response, this.#at);
    const body = parseJson(await response.bytes(128 * 1024), `token of ${realm.host}`, 'E_PROTOCOL') as {
      token?: string;
      access_token?: string;
      expires_in?: number;
    };
    const token = body.token ?? body.access_token;
    if (!token) throw new MirrorError('E_PROTOCOL', `\`${realm.host}\` gave no token`, { at: place });
    const seconds = Math.max(body.expires_in ?? 60, 60);
    return { header: `Bearer ${token}`, freshUntil: Date.now() + seconds * 800 };
  }

  async #ask(
    realm: URL,
    service: string | undefined,
    scope: string,
    credential: Credential | undefined,
  ): Promise<HttpResponse> {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.append('service', service);
    for (const each of scope.split(' ')) url.searchParams.append('scope', each);
    const headers: Record<string, string> =
      credential?.kind === 'basic' ? { authorization: basicHeader(credential) } : {};
    return this.#client.send({ method: 'GET', url, headers, at: this.#at });
  }

  async #exchange(realm: URL, service: string | undefined, scope: string, identity: string): Promise<HttpResponse> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'sie-mirror',
      refresh_token: identity,
      scope,
    });
    if (service !== undefined) form.append('service', service);
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return this.#client.send({ method: 'POST', url: realm, headers, body: form.toString(), at: this.#at });
  }

  /** @throws E_PROTOCOL for a realm to which a password must not go */
  #realm(challenge: Challenge): URL {
    const text = challenge.parameters['realm'] ?? '';
    if (!URL.canParse(text, this.#origin))
      throw new MirrorError('E_PROTOCOL', `\`${this.#host}\` names no token address that can be read`, {
        at: this.#at,
      });
    const realm = new URL(text, this.#origin);
    const safe =
      realm.protocol === 'https:' ||
      (realm.protocol === 'http:' &&
        this.#origin.startsWith('http:') &&
        (realm.origin === this.#origin || this.#client.schemeOf(realm.host) === 'http'));
    if (!safe)
      throw new MirrorError(
        'E_PROTOCOL',
        `\`${this.#host}\` wants credentials sent to \`${realm.protocol}//${realm.host}\`, which is not HTTPS`,
        { at: this.#at },
      );
    return realm;
  }

  #noCredential(): MirrorError {
    return new MirrorError('E_AUTH', `\`${this.#host}\` wants credentials, and there are none for it`, {
      hint: `log in with \`docker login ${this.#host}\``,
      at: this.#at,
    });
  }

  get #host(): string {
    return new URL(this.#origin).host;
  }
}

function basicHeader(credential: { user: string; password: string }): string {
  return `Basic ${Buffer.from(`${credential.user}:${credential.password}`).toString('base64')}`;
}
