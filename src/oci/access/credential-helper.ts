import { execFile } from 'node:child_process';
import { MirrorError } from '../../core/errors.ts';
import { parseJson, validate } from '../../core/validate.ts';
import * as z from '../../core/zod.ts';
import { type Credential, sameCredential } from './credentials.ts';
import { dockerHub } from '../reference.ts';

const answerSchema = z.looseObject({ Username: z.string(), Secret: z.string() });

/** A token of a cloud lives for an hour or more. */
const keepMs = 60 * 60_000;
const answerMs = 30_000;

interface Kept {
  until: number;
  credential: Promise<Credential | undefined>;
}

/** Runs credential helpers, each once an hour for a host: https://github.com/docker/docker-credential-helpers#development */
export class CredentialHelpers {
  readonly #env: Record<string, string | undefined>;
  readonly #kept = new Map<string, Kept>();

  constructor(env: Record<string, string | undefined>) {
    this.#env = env;
  }

  /**
   * @param refused is not given again before the helper has been asked anew
   * @returns undefined when the helper has none for the host
   * @throws E_AUTH for a helper that is not installed, fails, or answers with something else
   */
  async get(helper: string, registry: string, refused?: Credential): Promise<Credential | undefined> {
    const key = `${helper} ${registry}`;
    const kept = this.#kept.get(key);
    if (kept && kept.until > Date.now()) {
      const known = await kept.credential;
      if (refused === undefined || !sameCredential(known, refused)) return known;
      // Others were refused too, and one of them has begun to ask again.
      if (this.#kept.get(key) !== kept) return this.#kept.get(key)?.credential;
    }
    const credential = this.#ask(helper, registry);
    this.#kept.set(key, { until: Date.now() + keepMs, credential });
    try {
      return await credential;
    } catch (error) {
      this.#kept.delete(key);
      throw error;
    }
  }

  async #ask(helper: string, registry: string): Promise<Credential | undefined> {
    const server = registry.toLowerCase() === dockerHub ? 'https://index.docker.io/v1/' : registry;
    const program = `docker-credential-${helper}`;
    const { failed, output } = await this.#run(program, server);
    if (failed && /credentials not found/i.test(output)) return undefined;
    if (failed) {
      const missing = (failed as NodeJS.ErrnoException).code === 'ENOENT';
      throw new MirrorError(
        'E_AUTH',
        `the credential helper \`${program}\` ${missing ? 'is not installed' : 'failed'}: it has to give the credentials for \`${registry}\``,
        {
          hint: missing
            ? `install \`${program}\`, or take \`${helper}\` out of \`credHelpers\` or \`credsStore\` in docker's config.json`
            : `run \`echo ${server} | ${program} get\` to see why`,
        },
      );
    }
    const answer = validate(answerSchema, parseJson(output, program, 'E_AUTH'), program, 'E_AUTH');
    if (answer.Username === '<token>') return { kind: 'identity', token: answer.Secret };
    return { kind: 'basic', user: answer.Username, password: answer.Secret };
  }

  /** Never rejects: what a helper prints may be a password, which has no place in an error. */
  async #run(program: string, input: string): Promise<{ failed: Error | null; output: string }> {
    return new Promise((resolve) => {
      const options = { timeout: answerMs, env: this.#env };
      const child = execFile(program, ['get'], options, (failed, output) => resolve({ failed, output }));
      // A helper that is not installed has no input to write to; execFile reports that by itself.
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }
}
