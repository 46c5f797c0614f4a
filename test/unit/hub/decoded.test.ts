import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import type { HttpResponse } from '../../../src/http/client.ts';
import { decoded } from '../../../src/hub/access/decoded.ts';
import { collect } from '../../support/contents.ts';
import { codeOf, codeOfCall } from '../../support/failures.ts';

const text = Buffer.from('text '.repeat(1000));
const at = { side: 'source', item: 'org/name/vocab.txt' } as const;

function answer(body: Uint8Array, headers: HttpResponse['headers'], status = 200): HttpResponse {
  return {
    status,
    headers,
    url: new URL('https://hub.example/x'),
    body: (async function* () {
      yield await Promise.resolve(body);
    })(),
    bytes: () => Promise.resolve(Buffer.from(body)),
    discard: () => Promise.resolve(),
  };
}

it('what is not compressed is left alone', async () => {
  for (const headers of [{}, { 'content-encoding': 'identity' }, { 'content-encoding': '' }])
    expect(await collect(decoded(answer(text, headers), text.length, at).body)).toEqual(text);
});

it('compressed bytes that end early can be asked for again', async () => {
  const cut = answer(gzipSync(text).subarray(0, 30), { 'content-encoding': 'gzip' });
  expect(await codeOf(collect(decoded(cut, text.length, at).body))).toBe('E_NETWORK');
});

it.each([
  ['a piece of them cannot be read', 'gzip', 206],
  ['nor can a coding that is not known', 'zstd', 200],
])('%s', (_, coding, status) => {
  const piece = answer(gzipSync(text), { 'content-encoding': coding }, status);
  expect(codeOfCall(() => decoded(piece, text.length, at))).toBe('E_PROTOCOL');
});
