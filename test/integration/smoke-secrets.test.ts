import { expect, it } from 'vitest';
import type { Fault } from '../support/server.ts';
import { type SmokeOutcome, smokeAgainst, smokeModel as model } from '../support/smoke.ts';
import { startGateway } from '../support/sie.ts';

/** No token of SIE stands in anything that smoke says, whatever the other side quotes. */

const token = 'canary-"token"+1';
const adminToken = 'canary-admin-2';
const env = { SIE_AUTH_TOKEN: token, SIE_ADMIN_TOKEN: adminToken };
const quoted = `Authorization: Bearer ${token}, ${adminToken}`;
const json = { 'content-type': 'application/json' };
const status = (code: number, body: unknown, headers: Record<string, string> = json): Fault => ({
  kind: 'status',
  status: code,
  headers,
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

it.each<[string, RegExp, Fault]>([
  [
    'a failed inference',
    /encode/,
    status(500, { error: 'all_items_failed', details: [{ error: quoted, code: quoted }] }),
  ],
  ['a refused request', /encode/, status(400, { message: quoted })],
  ['a model that does not load', /encode/, status(502, { detail: { code: 'MODEL_LOAD_FAILED', message: quoted } })],
  ['a full queue', /encode/, status(503, { message: quoted }, { ...json, 'retry-after': '5' })],
  ['a broken gateway', /health/, status(500, quoted, { 'content-type': 'text/plain' })],
  ['a redirect', /health/, status(302, '', { location: `https://login.zone/${encodeURIComponent(token)}` })],
  ['a content type', /health/, status(200, '', { 'content-type': `text/${adminToken}` })],
  ['the name of a bundle', /encode/, status(409, { compatible_bundles: [quoted] })],
])('not when it is quoted by %s', async (_, only, fault) => {
  const faults = ({ path }: { path: string }): Fault | undefined => (only.test(path) ? fault : undefined);
  const outcome = await smokeAgainst({ dialect: '0.10', token, faults }, { timeout: 10 }, { env });
  expect(saidBy(outcome)).not.toMatch(/canary/);
});

it('not when a worker repeats what the gateway sent on to it', async () => {
  const worker = await startGateway({
    standalone: true,
    models: { [model]: { dim: 8 } },
    faults: () => status(500, quoted, { 'content-type': 'text/plain' }),
  });
  try {
    const outcome = await smokeAgainst({ dialect: '0.10', token }, { workers: [worker.url] }, { env });
    expect(saidBy(outcome)).not.toMatch(/canary/);
  } finally {
    await worker.close();
  }
});

/** All that a run which failed has said. */
function saidBy({ error, notes }: SmokeOutcome): string {
  return error ? JSON.stringify([error, error.message, error.hint, error.at, error.stack, notes]) : 'canary: it passed';
}
