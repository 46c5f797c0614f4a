import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sha256 } from '../../src/core/digest.ts';
import { contentOf } from '../../src/core/stream.ts';
import { S3Store } from '../../src/objects/s3.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { stubEnv } from '../support/stub-env.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

/** Ways of the AWS chain to credentials: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html */

const lent = { accessKeyId: 'ASIALENT', secretAccessKey: 'lent-secret', sessionToken: 'canary/session+token==' };
const retry = { attempts: 2, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };
const small = Buffer.from(seededBytes('small', 100_000));
const large = Buffer.from(seededBytes('large', 17 * 1024 * 1024));
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let s3: TestS3;

beforeEach(async () => {
  place = await temporaryDirectory();
  s3 = await startS3({ buckets: ['models'], ...lent });
  for (const name of Object.keys(process.env)) if (/^AWS_(?!SDK_)/.test(name)) vi.stubEnv(name, undefined);
  stubEnv({ AWS_ENDPOINT_URL_S3: s3.url, AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true' });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await s3.close();
  await place[Symbol.asyncDispose]();
});

/** Puts what goes whole, and what goes in parts. */
async function putAll(): Promise<void> {
  const store = new S3Store({ bucket: 'models', prefix: '', retry });
  for (const [key, bytes] of Object.entries({ small, large }))
    await store.put(key, contentOf(bytes), { digest: sha256(bytes), size: bytes.length });
}

it('are taken from the environment, with the token of a session', async () => {
  const { accessKeyId, secretAccessKey, sessionToken } = lent;
  stubEnv({
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  });

  await putAll();

  expect([...s3.objects.keys()].toSorted()).toEqual(['models/large', 'models/small']);
});

it('are lent to the identity of a pod', async () => {
  const asked: string[] = [];
  const sts = await startSts(asked);
  await beIdentity(sts);

  await putAll();

  expect([...s3.objects.keys()].toSorted()).toEqual(['models/large', 'models/small']);
  const form = new URLSearchParams(asked[0]);
  expect([asked.length, form.get('Action'), form.get('WebIdentityToken')]).toEqual([
    1,
    'AssumeRoleWithWebIdentity',
    'canary.identity.token',
  ]);
  await new Promise((resolve) => sts.close(resolve));
});

it.each([
  ['AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity'],
  ['InvalidIdentityToken', 'No OpenIDConnect provider found in your account'],
])('that are not lent (%s) are no matter of the store', async (code, message) => {
  const sts = await startSts(
    [],
    `<ErrorResponse><Error><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
  );
  await beIdentity(sts);

  const error = await failureOf(putAll());

  expect([error.code, error.hint]).toEqual(['E_AUTH', expect.stringContaining('AWS_ROLE_ARN')]);
  expect(error.message).not.toContain('s3:');
  await new Promise((resolve) => sts.close(resolve));
});

it('that are nowhere are said to be missing', async () => {
  stubEnv({ HOME: place.path });

  expect(await codeOf(putAll())).toBe('E_AUTH');
});

it('with a token that the store does not know are refused, and the token is not repeated', async () => {
  stubEnv({
    AWS_ACCESS_KEY_ID: lent.accessKeyId,
    AWS_SECRET_ACCESS_KEY: lent.secretAccessKey,
    AWS_SESSION_TOKEN: 'canary',
  });

  const error = await failureOf(putAll());

  expect(error.code).toBe('E_AUTH');
  expect(`${error.message} ${error.hint}`).not.toContain('canary');
});

/** As a pod on EKS that has a role. */
async function beIdentity(sts: Server): Promise<void> {
  const token = join(place.path, 'token');
  await writeFile(token, 'canary.identity.token');
  stubEnv({
    AWS_WEB_IDENTITY_TOKEN_FILE: token,
    AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/models',
    AWS_ENDPOINT_URL_STS: `http://127.0.0.1:${(sts.address() as AddressInfo).port}`,
  });
}

/** The service that lends credentials: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html */
async function startSts(asked: string[], refusal?: string): Promise<Server> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      asked.push(body);
      const fields = {
        AccessKeyId: lent.accessKeyId,
        SecretAccessKey: lent.secretAccessKey,
        SessionToken: lent.sessionToken,
        Expiration: new Date(Date.now() + 3_600_000).toISOString(),
      };
      const credentials = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`);
      response.setHeader('content-type', 'text/xml');
      if (refusal !== undefined) {
        response.writeHead(403).end(refusal);
        return;
      }
      response.end(
        `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>` +
          `<Credentials>${credentials.join('')}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
