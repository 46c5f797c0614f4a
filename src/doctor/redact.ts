const secretNames = /TOKEN|SECRET|PASSWORD|PASSPHRASE|ACCESS_KEY|API_KEY|CREDENTIAL/i;

/** Secrets by their form: tokens of the Hub, GitHub and NGC, keys of AWS, JWTs, and what follows a telling word. */
const secretForms: readonly RegExp[] = [
  /\bhf_[A-Za-z0-9_]{8,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bnvapi-[\w-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g,
  /(?<=\b(?:bearer|basic) )[\w.~+/=-]{16,}/gi,
  /(?<=(?:token|password|passwd|secret|secret_?(?:access_?)?key|signature|api_?key)["']?\s?[=:]\s?["']?)[^\s"'`,;&\\]{4,}/gi,
  /(?<=:\/\/[^\s/:@"'`]*:)[^\s/@"'`]+(?=@)/g,
];

/** What has the form of a secret becomes `***`: a worker's log or a server's answer may quote what it was given. */
export function withoutSecretForms(text: string): string {
  return secretForms.reduce((clean, form) => clean.replace(form, '***'), text);
}

/** What is secret in the environment becomes `***`, wherever it turns up. */
export function withoutValues(env: Record<string, string | undefined>): (text: string) => string {
  const values = Object.entries(env)
    .filter(([name, value]) => secretNames.test(name) && (value?.trim().length ?? 0) >= 4)
    .map(([, value = '']) => value.trim())
    .sort((a, b) => b.length - a.length);
  return (text) => values.reduce((clean, value) => clean.replaceAll(value, '***'), text);
}
