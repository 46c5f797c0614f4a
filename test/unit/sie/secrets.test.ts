import { expect, it } from 'vitest';
import { decodeMsgpack, encodeMsgpack } from '../../../src/sie/msgpack.ts';
import { withoutSecrets } from '../../../src/sie/secrets.ts';
import type { HttpResponse } from '../../../src/http/client.ts';

const answer = (bytes: Uint8Array): HttpResponse => ({
  status: 200,
  headers: {},
  url: new URL('http://gateway/'),
  body: (async function* body() {})(),
  bytes: async () => Promise.resolve(Buffer.from(bytes)),
  discard: async () => {},
});

it('hides a token in msgpack, which stays whole', async () => {
  const value = { dtype: 'as canary-token said', dims: 7 };
  const bytes = await withoutSecrets(answer(encodeMsgpack(value)), ['canary-token']).bytes();
  expect(decodeMsgpack(bytes)).toEqual({ dtype: 'as ************ said', dims: 7 });
});

it('leaves alone what is too short to be a token', async () => {
  const bytes = await withoutSecrets(answer(Buffer.from('abc')), ['abc', '']).bytes();
  expect(bytes.toString()).toBe('abc');
});
