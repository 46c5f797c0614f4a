import { expect, it } from 'vitest';
import { digestHex, sha256 } from '../../../src/core/digest.ts';
import { escaped, signed } from '../../../src/objects/s3-signature.ts';

const keys = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  region: 'us-east-1',
};
const now = new Date('2013-05-24T00:00:00.000Z');

it("signs the example of Amazon's own documentation as it does", () => {
  const url = new URL('https://examplebucket.s3.amazonaws.com');
  url.pathname = `/${escaped('test$file.text')}`;
  const headers = { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' };
  const payload = digestHex(sha256('Welcome to Amazon S3.'));

  const { authorization = '' } = signed({ method: 'PUT', url, headers, payload }, keys, now);

  expect(authorization).toContain('SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class');
  expect(authorization).toMatch(/Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd$/);
});

it('signs the token of credentials that expire', () => {
  const url = new URL('https://models.s3.amazonaws.com/a');

  const headers = signed({ method: 'PUT', url, headers: {}, payload: 'x' }, { ...keys, sessionToken: 'token' }, now);

  expect(headers['x-amz-security-token']).toBe('token');
  expect(headers['authorization']).toContain(';x-amz-security-token,');
});
