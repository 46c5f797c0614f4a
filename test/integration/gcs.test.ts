import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { runVerify } from '../../src/cli/verify-place.ts';
import { importLocal } from '../../src/commands/import/local.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { contentOf } from '../../src/core/stream.ts';
import { GcsStore } from '../../src/objects/gcs.ts';
import { testContext } from '../support/context.ts';
import { failureOf } from '../support/failures.ts';
import { type GcsOptions, startGcs, type TestGcs } from '../support/gcs.ts';
import { temporaryDirectory } from '../support/place.ts';
import { seededBytes } from '../support/seeded-bytes.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let gcs: TestGcs;

beforeAll(async () => {
  place = await temporaryDirectory();
  await writeFile(join(place.path, 'm.gguf'), 'weights');
});

afterAll(() => place[Symbol.asyncDispose]());

async function restart(options: Partial<GcsOptions> = {}): Promise<void> {
  gcs = await startGcs({ buckets: ['models'], ...options });
}

beforeEach(() => restart());
afterEach(async () => {
  vi.unstubAllEnvs();
  await gcs.close();
});

async function bring(models: string, env: Record<string, string> = {}): Promise<Report> {
  const settings = { CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: `${gcs.url}/`, ...env };
  const { context } = await testContext({ cwd: place.path, env: settings, retries: 1 });
  try {
    return await importLocal({ path: 'm.gguf', as: 'org/m', models, layout: 'sie' }, context);
  } finally {
    await context.close();
  }
}

const writes = (): number => gcs.server.count(/^(?:PUT|POST|PATCH|DELETE) /);

describe('gs:// as a target of models', () => {
  it('gets what SIE workers read, and nothing more the second time but listings', async () => {
    expect((await bring('gs://models/sie/models')).ok).toBe(true);

    expect([...gcs.objects.keys()].filter((key) => key.endsWith('/refs/main'))).toEqual([
      'models/sie/models/models--org--m/refs/main',
    ]);
    const written = writes();
    gcs.server.requests.splice(0);
    expect((await bring('gs://models/sie/models')).items[0]?.state).toBe('present');
    expect([written > 0, writes()]).toEqual([true, 0]);
    const asked = gcs.server.requests.filter(({ path }) => !path.includes('/o?') && !path.includes('receipt.json'));
    expect(asked).toEqual([]);
  });

  it('is read again by verify, which tells what was changed there', async () => {
    await bring('gs://models/sie/models');

    const settings = { CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: gcs.url };
    const { context } = await testContext({ cwd: place.path, env: settings, retries: 1 });
    expect((await runVerify('gs://models/sie/models', {}, context)).ok).toBe(true);

    const [weights] = [...gcs.objects].filter(([key]) => key.endsWith('/m.gguf')).map(([, object]) => object);
    weights?.body.write('W');
    expect((await runVerify('gs://models/sie/models', {}, context)).ok).toBe(false);
    await context.close();
  });

  it('is tried again when it fails for a while', async () => {
    let failures = 0;
    await gcs.close();
    await restart({
      faults: ({ method, path }) => {
        failures += method === 'POST' && path.includes('uploadType=multipart') ? 1 : 0;
        return failures === 1 && method === 'POST' ? { kind: 'status', status: 503 } : undefined;
      },
    });

    expect((await bring('gs://models')).ok).toBe(true);
  });

  it.each<[string, string, Partial<GcsOptions>, string, string]>([
    ['no such bucket', 'gs://none/x', {}, 'E_NOT_FOUND', 'none'],
    ['no right to list', 'gs://models', { deny: (method) => method === 'GET' }, 'E_AUTH', 'storage.objects.list'],
  ])('says of %s what it is', async (_, models, options, code, word) => {
    await gcs.close();
    await restart(options);

    const error = await failureOf(bring(models));

    expect([error.code, error.at.side]).toEqual([code, 'target']);
    expect(error.message).toContain(word);
  });

  it('names the permission that is missing to write', async () => {
    await gcs.close();
    await restart({ deny: (method) => method === 'POST' });

    const [failed] = (await bring('gs://models')).items;

    expect(failed?.error).toMatchObject({ code: 'E_AUTH' });
    expect(failed?.error?.message).toContain('storage.objects.create');
  });

  it('says that there are no credentials where there are none', async () => {
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', join(place.path, 'none.json'));

    const error = await failureOf(
      bring('gs://models', { CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: 'https://localhost:1' }),
    );

    expect([error.code, error.hint?.includes('GOOGLE_APPLICATION_CREDENTIALS')]).toEqual(['E_AUTH', true]);
  });

  it('says that nobody answers', async () => {
    const error = await failureOf(
      bring('gs://models', { CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: 'http://127.0.0.1:1' }),
    );

    expect(error.code).toBe('E_NETWORK');
  });
});

// The client itself pauses for a second.
it('goes on with an upload in chunks after one of them has failed', async () => {
  let chunks = 0;
  await gcs.close();
  await restart({
    faults: ({ method }) => {
      chunks += method === 'PUT' ? 1 : 0;
      return method === 'PUT' && chunks === 2 ? { kind: 'status', status: 503 } : undefined;
    },
  });
  const retry = { attempts: 3, pauseMs: 1, maxPauseMs: 1, maxWaitMs: 10 };
  const store = new GcsStore({ bucket: 'models', prefix: 'x', endpoint: gcs.url, retry });
  const bytes = seededBytes('chunks', 17 * 1024 * 1024 + 3);

  await store.put('a', contentOf(bytes), { digest: sha256(bytes), size: bytes.length });

  expect(gcs.objects.get('models/x/a')?.body.equals(bytes)).toBe(true);
  expect(gcs.server.count(/^POST .*uploadType=resumable/)).toBe(1);
});
