import type { HttpResponse } from '../http/client.ts';

/** What is shorter would be found in any text. */
const shortest = 4;

/** An answer that does not repeat these secrets, in its headers and its body: some servers quote the request in their errors. */
export function withoutSecrets(response: HttpResponse, secrets: readonly string[]): HttpResponse {
  const forms = secrets.filter(({ length }) => length >= shortest).flatMap(formsOf);
  if (forms.length === 0) return response;
  const headers = Object.entries(response.headers).map(([name, value]) => [name, value && clean(value, forms)]);
  return {
    status: response.status,
    headers: Object.fromEntries(headers) as HttpResponse['headers'],
    url: response.url,
    body: response.body,
    bytes: async (limit) => cleanBytes(await response.bytes(limit), forms),
    discard: async () => response.discard(),
  };
}

/** As it is, in an address, and in JSON. */
function formsOf(secret: string): string[] {
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];
}

/** As long as before: msgpack and Content-Length count bytes. */
function clean(text: string, forms: readonly string[]): string {
  return forms.reduce((rest, form) => rest.replaceAll(form, '*'.repeat(form.length)), text);
}

function cleanBytes(bytes: Buffer, forms: readonly string[]): Buffer {
  const found = forms.filter((form) => bytes.includes(form)).map((form) => Buffer.from(form).toString('latin1'));
  return found.length === 0 ? bytes : Buffer.from(clean(bytes.toString('latin1'), found), 'latin1');
}
