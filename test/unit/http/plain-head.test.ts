import { describe, expect, it } from 'vitest';
import { formatPlainGet, parsePlainHead } from '../../../src/http/plain-head.ts';

const head = (...lines: string[]): string => lines.join('\r\n');

describe('parsePlainHead', () => {
  it('reads status, headers and length', () => {
    const text = head('HTTP/1.1 206 Partial', 'Content-Length: 12', 'X-A: b', 'x-a:c', 'Docker-Digest:  sha256:1 ');

    expect(parsePlainHead(text)).toEqual({
      status: 206,
      headers: { 'content-length': '12', 'x-a': 'b, c', 'docker-digest': 'sha256:1' },
      length: 12,
      keepAlive: true,
    });
  });

  it.each(['close', 'Close', 'x-y, close'])('takes `connection: %s` for an end', (value) => {
    const text = head('HTTP/1.1 200 OK', 'content-length: 1', `connection: ${value}`);

    expect(parsePlainHead(text)?.keepAlive).toBe(false);
  });

  it.each([
    ['no length', head('HTTP/1.1 200 OK')],
    ['two lengths', head('HTTP/1.1 200 OK', 'content-length: 1', 'content-length: 1')],
    ['an empty length', head('HTTP/1.1 200 OK', 'content-length:')],
    ['a signed length', head('HTTP/1.1 200 OK', 'content-length: +1')],
    ['a length that no number holds', head('HTTP/1.1 200 OK', `content-length: ${'9'.repeat(16)}`)],
    ['chunks', head('HTTP/1.1 200 OK', 'content-length: 1', 'transfer-encoding: chunked')],
    ['an older version', head('HTTP/1.0 200 OK', 'content-length: 1')],
    ['an interim status', head('HTTP/1.1 103 Early Hints', 'content-length: 1')],
    ['a status without a body', head('HTTP/1.1 204 No Content', 'content-length: 1')],
    ['a fold', head('HTTP/1.1 200 OK', 'content-length: 1', ' 2')],
    ['a bare line feed', head('HTTP/1.1 200 OK', 'content-length: 1\nx: y')],
    ['a bare carriage return', head('HTTP/1.1 200 OK', 'content-length: 1', 'x: y\rz')],
    ['a name with a space', head('HTTP/1.1 200 OK', 'content-length : 1')],
    ['no name', head('HTTP/1.1 200 OK', 'content-length: 1', ': x')],
  ])('leaves a head with %s to a whole parser', (_, text) => {
    expect(parsePlainHead(text)).toBeUndefined();
  });
});

describe('formatPlainGet', () => {
  it('writes path, query and headers', () => {
    expect(formatPlainGet(new URL('http://host:5000/v2/a%20b?x=%2F#part'), { range: 'bytes=1-2' })).toBe(
      'GET /v2/a%20b?x=%2F HTTP/1.1\r\nhost: host:5000\r\nconnection: keep-alive\r\nrange: bytes=1-2\r\n\r\n',
    );
  });

  it.each([{ 'x-y': 'a\r\nz: b' }, { 'x-y': 'a\nb' }, { 'x y': 'a' }, { 'x-y': '\u{1f600}' }])(
    'writes nothing for %j',
    (headers) => {
      expect(formatPlainGet(new URL('http://host/'), headers as Record<string, string>)).toBeUndefined();
    },
  );
});
