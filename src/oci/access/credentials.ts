/** A user and a password, which may be a token of a cloud. */
export interface BasicCredential {
  kind: 'basic';
  user: string;
  password: string;
}

/** What proves to a registry who we are. */
export type Credential =
  | BasicCredential
  /** Goes to the token server, which gives access tokens for it; `basic` is for servers that cannot do so. */
  | { kind: 'identity'; token: string; basic?: BasicCredential }
  /** An access token as it is: docker's `registrytoken`. */
  | { kind: 'access'; token: string };

/**
 * Finds the credential for a repository of a registry; undefined means anonymous.
 * @param refused one that the registry did not take: a helper may have a newer one
 * @throws E_USAGE, E_AUTH
 */
export type CredentialFinder = (
  registry: string,
  repository: string,
  refused?: Credential,
) => Promise<Credential | undefined>;

/** Whether two credentials would say the same to a registry. */
export function sameCredential(one: Credential | undefined, other: Credential | undefined): boolean {
  if (one?.kind === 'basic' && other?.kind === 'basic')
    return one.user === other.user && one.password === other.password;
  if (one === undefined || other === undefined || one.kind === 'basic' || other.kind === 'basic') return one === other;
  return one.kind === other.kind && one.token === other.token;
}
