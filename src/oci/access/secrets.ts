import type { Credential } from './credentials.ts';
import { basicHeader } from './token.ts';

/** What is shorter would be found in any text. */
const shortest = 4;

/** What was shown to one registry, so that nothing which it answers brings it to light: some repeat the request in their errors. */
export class Secrets {
  readonly #known = new Set<string>();

  /** A password, an identity token or an access token, in every form in which it is sent. */
  note(credential: Credential | undefined): void {
    if (credential?.kind === 'basic') {
      this.#add(credential.password);
      this.#add(basicHeader(credential).replace(/^Basic /, ''));
    } else if (credential) {
      this.#add(credential.token);
      if (credential.kind === 'identity') {
        this.note(credential.basic);
        this.note({ kind: 'basic', user: '<token>', password: credential.token });
      }
    }
  }

  /** The text with `***` for each of them. */
  redact(text: string): string {
    let clean = text;
    for (const secret of this.#known) clean = clean.replaceAll(secret, '***');
    return clean;
  }

  #add(secret: string): void {
    if (secret.length < shortest) return;
    for (const form of [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]) this.#known.add(form);
  }
}
