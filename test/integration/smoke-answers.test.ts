import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Patience } from '../../src/commands/smoke/patience.ts';
import { MirrorError } from '../../src/core/errors.ts';
import { projectRoot } from '../support/cli.ts';
import type { Fault } from '../support/server.ts';
import { hastyClock, smokeAgainst, smokeFails, smokeModel as model } from '../support/smoke.ts';

type Status = Extract<Fault, { kind: 'status' }>;

interface Row {
  /** As the page says it. */
  answer: string;
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** Exit code; the waiting ones get it at the timeout. */
  exit: number;
  waits?: boolean;
  /** How often it is asked in ten seconds: six times, if not less. */
  tries?: number;
  token?: string;
}

const coded = (code: string): Record<string, string> => ({ 'x-sie-error-code': code, 'retry-after': '120' });
const detail = (errorClass: string): unknown => ({
  detail: { code: 'MODEL_LOAD_FAILED', message: 'cannot load', error_class: errorClass, attempts: 1, permanent: true },
});

const rows: Row[] = [
  {
    answer: '202',
    status: 202,
    headers: { 'retry-after': '120' },
    body: { status: 'provisioning' },
    exit: 9,
    waits: true,
  },
  { answer: '503 PROVISIONING', status: 503, headers: coded('PROVISIONING'), exit: 9, waits: true },
  { answer: '503 MODEL_LOADING', status: 503, headers: coded('MODEL_LOADING'), exit: 9, waits: true },
  { answer: '503 LORA_LOADING', status: 503, body: { error: { code: 'LORA_LOADING' } }, exit: 9, waits: true },
  {
    answer: '503 RESOURCE_EXHAUSTED',
    status: 503,
    headers: coded('RESOURCE_EXHAUSTED'),
    exit: 9,
    waits: true,
    tries: 3,
  },
  {
    answer: '503 "no consumers"',
    status: 503,
    headers: { 'retry-after': '120' },
    body: { message: 'no consumers' },
    exit: 9,
    waits: true,
  },
  {
    answer: '503 "backpressure"',
    status: 503,
    headers: { 'retry-after': '5' },
    body: { message: 'backpressure' },
    exit: 9,
    waits: true,
  },
  { answer: '503 QUEUE_FULL', status: 503, headers: coded('QUEUE_FULL'), exit: 9, waits: true },
  {
    answer: '503 BILLING_CAPACITY_UNAVAILABLE',
    status: 503,
    headers: coded('BILLING_CAPACITY_UNAVAILABLE'),
    exit: 9,
    waits: true,
  },
  { answer: '429', status: 429, exit: 9, waits: true },
  { answer: '504', status: 504, body: { message: 'Result channel closed' }, exit: 9, waits: true },
  {
    answer: '502 from a proxy',
    status: 502,
    headers: { 'content-type': 'text/html' },
    body: '<html>',
    exit: 9,
    waits: true,
  },
  { answer: '503, NATS unavailable', status: 503, body: { message: 'NATS unavailable' }, exit: 9 },
  { answer: '503 QUEUE_UNAVAILABLE', status: 503, body: { error: { code: 'QUEUE_UNAVAILABLE' } }, exit: 9 },
  {
    answer: '503 gpu_not_configured',
    status: 503,
    body: { status: 'gpu_not_configured', configured_gpu_types: ['l4', 'cpu'] },
    exit: 9,
  },
  ...['GATED', 'NOT_FOUND', 'OOM', 'NETWORK', 'DEPENDENCY', 'CONFIG', 'TIMEOUT', 'UNKNOWN'].map((errorClass) => ({
    answer: `502 MODEL_LOAD_FAILED, ${errorClass}`,
    status: 502,
    body: detail(errorClass),
    exit: 9,
  })),
  {
    answer: '500 all_items_failed',
    status: 500,
    body: { error: 'all_items_failed', details: [{ error: 'CUDA error', code: 'INFERENCE_ERROR' }] },
    exit: 9,
  },
  { answer: '500 without tokens', status: 500, body: { message: 'auth is on, no tokens set' }, exit: 6 },
  {
    answer: '500 text',
    status: 500,
    headers: { 'content-type': 'text/plain' },
    body: 'Internal Server Error',
    exit: 9,
  },
  {
    answer: '400 INVALID_INPUT',
    status: 400,
    body: { detail: { code: 'INVALID_INPUT', message: 'wrong profile' } },
    exit: 9,
  },
  {
    answer: '400 INPUT_TOO_LONG',
    status: 400,
    body: { error: { code: 'INPUT_TOO_LONG', message: '8193 tokens' } },
    exit: 9,
  },
  { answer: '401', status: 401, body: { message: 'Missing authorization' }, exit: 6, token: 'known' },
  { answer: '401 without a token', status: 401, body: { message: 'Missing authorization' }, exit: 6 },
  { answer: '402', status: 402, body: { message: 'no credit' }, exit: 6 },
  { answer: '403', status: 403, body: { message: 'Invalid token' }, exit: 6, token: 'known' },
  { answer: '404', status: 404, body: { message: 'not found' }, exit: 7 },
  { answer: '409', status: 409, body: { compatible_bundles: ['sglang'], message: 'other bundle' }, exit: 9 },
  { answer: '413', status: 413, exit: 9 },
  { answer: '302 to a login page', status: 302, headers: { location: 'https://login.zone/?state=secret' }, exit: 9 },
  {
    answer: '200 HTML',
    status: 200,
    headers: { 'content-type': 'text/html' },
    body: '<html>Please log in</html>',
    exit: 9,
  },
  {
    answer: '200 broken msgpack',
    status: 200,
    headers: { 'content-type': 'application/x-msgpack' },
    body: '\u0081',
    exit: 9,
  },
];

const page = readFileSync(join(projectRoot, 'docs/smoke.md'), 'utf8');

function faultOf({ status, headers, body = {} }: Row): Status {
  return {
    kind: 'status',
    status,
    headers: headers ?? {},
    body: typeof body === 'string' ? body : JSON.stringify(body),
  };
}

/** A line of the table in docs/smoke.md, as it was printed. */
function lineOf({ answer, waits }: Row, { exit, message, hint }: MirrorError): string {
  const said = message.replace(/127\.0\.0\.1:\d+/g, 'HOST').replace(/^no answer within \d+ s; the last one was: /, '');
  return `| ${answer} | ${waits ? 'waits, then ' : ''}${exit} | ${said} | ${hint ?? ''} |`;
}

describe('each answer of a cluster has its exit, its message and its next step', () => {
  it.each(rows)('$answer', async (row) => {
    const { error, gateway } = await smokeAgainst(
      { dialect: '0.10', faults: ({ path }) => (path.startsWith('/v1/encode') ? faultOf(row) : undefined) },
      { timeout: row.waits ? 10 : 600 },
      { env: row.token === undefined ? {} : { SIE_AUTH_TOKEN: row.token } },
    );
    expect(error).toMatchObject({ exit: row.exit, hint: expect.any(String) as string });
    expect(gateway.server.count(/encode/)).toBe(row.waits ? (row.tries ?? 6) : 1);
    expect(`${error?.message}${error?.hint}`).not.toContain('secret');
    expect(page).toContain(lineOf(row, error as MirrorError));
  });

  it('and one that passes is forgotten', async () => {
    let asked = 0;
    const { report, notes } = await smokeAgainst({
      faults: ({ path }) => (path.startsWith('/v1/encode') && ++asked === 1 ? { kind: 'reset', after: 0 } : undefined),
    });
    expect(report).toMatchObject({ ok: true });
    expect(notes.some((note) => note.includes('waiting'))).toBe(true);
  });
});

it('a worker that stays without memory is tried three times more', async () => {
  const patience = new Patience(60, model, () => {}, new AbortController().signal, hastyClock());
  const late = (): MirrorError => new MirrorError('E_INTERNAL', 'too late');
  for (let count = 0; count < 3; count += 1) await patience.pause('memory', 'no memory', late);
  await expect(patience.pause('memory', 'no memory', late)).rejects.toMatchObject({ code: 'E_SMOKE' });
});

it('a gateway that does not let in is told from its page of health', async () => {
  const faults = (status: number, body: unknown) => () => ({
    kind: 'status' as const,
    status,
    body: JSON.stringify(body),
  });
  expect(await smokeFails({ faults: faults(401, {}) }, { timeout: 600 })).toMatchObject({ code: 'E_AUTH' });
  expect(await smokeFails({ faults: faults(500, { message: 'no auth tokens' }) }, { timeout: 10 })).toMatchObject({
    exit: 6,
  });
});
