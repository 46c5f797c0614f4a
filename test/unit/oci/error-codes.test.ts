import { expect, it } from 'vitest';
import { readErrors } from '../../../src/oci/registry/error-codes.ts';

const body = (...errors: object[]): string => JSON.stringify({ errors });

it('all that a registry says is told, each once, with what of the details is text', () => {
  const unknown = { code: 'UNKNOWN', message: 'unknown error' };
  const missing = { code: 'MANIFEST_BLOB_UNKNOWN', message: 'blob unknown to registry', detail: 'sha256:1' };

  const { said } = readErrors(body(unknown, { ...unknown, detail: {} }, missing, missing), 500);

  expect(said).toBe('UNKNOWN: unknown error; MANIFEST_BLOB_UNKNOWN: blob unknown to registry: sha256:1');
});

it('the first error says what it is, and a status of 500 that it is the server', () => {
  const missing = { code: 'MANIFEST_BLOB_UNKNOWN' };
  expect(readErrors(body(missing, { code: 'UNKNOWN' }), 400)).toMatchObject({
    name: 'MANIFEST_BLOB_UNKNOWN',
    code: 'E_BLOB_UNKNOWN',
  });
  expect(readErrors(body(missing), 500).code).toBe('E_REMOTE');
});

it.each(['', '<html>', '{"errors":[{}]}', '{"errors":[]}', '[]'])(
  'a body that names no error says nothing: %s',
  (text) => {
    expect(readErrors(text, 503)).toEqual({ name: '', code: 'E_REMOTE', said: '' });
  },
);

it('what a server does not take of the addresses of layers does not pass, whatever its status', () => {
  const refused = { code: 'UNKNOWN', message: 'unknown error', detail: 'invalid URL on layer' };
  expect(readErrors(body({ code: 'UNKNOWN' }, refused), 500).code).toBe('E_REFUSED');
});
