import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findToken, tokenSource } from '../../../src/hub/access/token.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let home: string;

beforeEach(async () => {
  place = await temporaryDirectory();
  home = place.path;
  for (const [folder, token] of Object.entries({
    '.cache/huggingface': 'of-home',
    'xdg/huggingface': 'of-xdg',
    'hf-home': 'of-hf-home',
  })) {
    await mkdir(join(home, folder), { recursive: true });
    await writeFile(join(home, folder, 'token'), `${token}\n`);
  }
  await writeFile(join(home, 'elsewhere'), ' of-path\r\n');
});

afterEach(() => place[Symbol.asyncDispose]());

describe('the token is found as huggingface_hub finds it', () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ['in the home directory', {}, 'of-home'],
    ['in XDG_CACHE_HOME', { XDG_CACHE_HOME: 'xdg' }, 'of-xdg'],
    ['in HF_HOME', { XDG_CACHE_HOME: 'xdg', HF_HOME: 'hf-home' }, 'of-hf-home'],
    ['in HF_TOKEN_PATH, trimmed', { HF_HOME: 'hf-home', HF_TOKEN_PATH: 'elsewhere' }, 'of-path'],
    ['in HUGGING_FACE_HUB_TOKEN', { HF_TOKEN_PATH: 'elsewhere', HUGGING_FACE_HUB_TOKEN: 'old' }, 'old'],
    ['in HF_TOKEN first', { HUGGING_FACE_HUB_TOKEN: 'old', HF_TOKEN: ' new\n' }, 'new'],
    ['beside an empty HF_TOKEN', { HF_TOKEN: ' ', HF_TOKEN_PATH: 'elsewhere' }, 'of-path'],
    ['nowhere', { HF_HOME: 'none' }, undefined],
    ['nowhere, where it may not be sent unasked', { HF_TOKEN: 'new', HF_HUB_DISABLE_IMPLICIT_TOKEN: 'YES' }, undefined],
    ['below the home directory, though no shell wrote it out', { HF_HOME: '~/hf-home' }, 'of-hf-home'],
    [
      'where another variable says, though no shell wrote it out',
      { FOLDER: 'hf-home', HF_HOME: '~/$FOLDER' },
      'of-hf-home',
    ],
    ['in HF_TOKEN_PATH, written so', { FOLDER: 'elsewhere', HF_TOKEN_PATH: '~/${FOLDER}' }, 'of-path'],
  ])('%s', async (_, env, token) => {
    const paths = new Set(['XDG_CACHE_HOME', 'HF_HOME', 'HF_TOKEN_PATH']);
    const full = Object.entries(env).map(([key, value]) => [
      key,
      paths.has(key) && !value.startsWith('~') ? join(home, value) : value,
    ]);
    expect(await findToken(Object.fromEntries(full) as Record<string, string>, home)).toBe(token);
  });
});

describe('the token of a login in the browser, which huggingface_hub notes down with its end', () => {
  const stored = (endsAt: string): string =>
    `[other]\nhf_token = of-other\nexpires_at = 1\n\n[hf-login % x]\nhf_token = of-home\nrefresh_token = hf_refresh_secret\nexpires_at = ${endsAt}\n\n`;
  const note = (text: string): Promise<void> => writeFile(join(home, '.cache/huggingface/stored_tokens'), text);

  it('is refused when that has come, without what would renew it', async () => {
    await note(stored('1700000000'));
    const error = await failureOf(findToken({}, home));
    expect(error).toMatchObject({ code: 'E_AUTH', hint: expect.stringContaining('hf auth') as string });
    expect(JSON.stringify(error) + error.message).not.toMatch(/hf_refresh_secret|of-home/);
    // Another token is not meant.
    expect(await findToken({ HF_TOKEN: 'new' }, home)).toBe('new');
  });

  it.each([stored('4102444800'), stored('soon'), '[x]\nhf_token = of-home\n', 'no such list', '\u0000[['])(
    'is taken as it is otherwise: %j',
    async (text) => {
      await note(text);
      expect(await findToken({}, home)).toBe('of-home');
    },
  );
});

it.each(['hf_größe', 'hf_\u2026', 'hf_a\u0000b', 'hf_\ud83e\udd17'])(
  'a token that no request can carry is refused: %j',
  async (token) => {
    expect(await codeOf(findToken({ HF_TOKEN: token }, home))).toBe('E_AUTH');
  },
);

it('the token of a trusted publisher is asked for again before it ends, and once for many', async () => {
  let [now, count] = [0, 0];
  const exchange = (): Promise<{ token: string; lifetimeMs: number }> =>
    Promise.resolve({ token: `passing-${(count += 1)}`, lifetimeMs: 3_600_000 });
  const token = tokenSource({ HF_OIDC_RESOURCE: 'me', HF_TOKEN: 'own' }, home, exchange, () => now);

  expect(await Promise.all([token(), token()])).toEqual(['passing-1', 'passing-1']);
  now = 3_200_000;
  expect(await token()).toBe('passing-1');
  now = 3_500_000;
  expect(await token()).toBe('passing-2');
});
