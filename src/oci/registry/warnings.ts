import type { HttpResponse } from '../../http/client.ts';
import { printable } from '../../core/text.ts';

/** More than anybody reads; a registry may make up another one for each request. */
const most = 10;
const longest = 500;

/**
 * What registries want users to know, each once:
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings
 */
export class Warnings {
  readonly #told = new Set<string>();
  readonly #tell: (text: string) => void;

  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  /** @param redact takes out of the registry's words what it was shown */
  note(host: string, { headers }: Pick<HttpResponse, 'headers'>, redact: (text: string) => string): void {
    for (const said of warningsIn(headers['warning'] ?? '')) {
      const text = `\`${host}\` says: ${printable(redact(said).slice(0, longest))}`;
      if (this.#told.has(text) || this.#told.size >= most) continue;
      this.#told.add(text);
      this.#tell(text);
    }
  }
}

/** The texts of `299 - "TEXT"`, of which a header may hold several; other forms are those of caches. Not everybody escapes quotes. */
export function warningsIn(header: string): string[] {
  const texts = [...header.matchAll(/(?:^|,)\s*299 - "(.*?)"(?=\s*(?:$|,\s*\d{3} ))/g)].map(([, text = '']) => text);
  return texts.map((text) => text.replace(/\\(.)/g, '$1')).filter((text) => text.trim() !== '');
}
