import { describe, expect, it } from 'vitest';
import { renderEvidence } from '../../../src/cli/evidence.ts';
import { renderJunit } from '../../../src/cli/junit.ts';
import { failedReport } from '../../../src/cli/outputs.ts';
import { parseCommandLine } from '../../../src/cli/program.ts';
import { renderErrorJson, renderFailures, renderJson, renderReport } from '../../../src/cli/render.ts';
import { MirrorError } from '../../../src/core/errors.ts';
import { failedItem, makeReport, type Report } from '../../../src/core/report.ts';

/** What a bundle, a receipt or a server may call things, in every place of a report, and in every form that it is written in. */
const hostile = [
  ['an escape', '\u001b[2J\u001b]0;owned\u0007'],
  ['an escape in one character', '\u009b2J\u009d0;owned\u009c'],
  ['a return over the line', 'BAD\rGOOD'],
  ['a line of its own', 'x\nGOOD: every byte as it was sealed'],
  ['backspaces and a null', 'BAD\b\b\b\u0000\u007f'],
  ['marks that turn text around', '\u202etxt.exe\u202c \u2066a\u2069 \u200f\u061c'],
  ['other line breaks', 'a\u2028b\u2029c\u0085d'],
  ['an end of script and style', '</style></script><script>alert(1)</script>'],
  ['an attribute', `" onload="alert(1)' onclick='x`],
  ['an address that is a script', '<a href="javascript:alert(1)">x</a>'],
  ['the end of what XML may hold', ']]>\ufffe\uffff\ud800'],
];

const witness = { user: 'u', host: 'h', at: '2026-11-22T00:00:00.000Z', tool: 'sie-mirror/0' };
// eslint-disable-next-line no-control-regex
const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

function reportOf(text: string): Report {
  const error = new MirrorError('E_CORRUPT', text, { hint: text, at: { side: 'source', item: text } });
  const detail = { license: text, repo: text, commit: 'a'.repeat(40), damaged: [text] };
  const model = { ...failedItem('model', text, error), detail };
  const report = makeReport('verify', [model, failedItem('volume', text, error)], {}, [text]);
  return { ...report, verdict: 'BAD', facts: { verdict: text, bundle: text, 'made by': text, signature: text } };
}

function formsOf(text: string): Record<string, string> {
  const report = reportOf(text);
  const error = new MirrorError('E_SIGNATURE', text, { hint: text, at: { item: text } });
  const subject = { kind: 'place', name: text };
  const failed = failedReport({ command: 'verify', subject, verdict: () => 'BAD' }, error);
  return {
    people: renderReport(report) + renderFailures(report.items),
    json: renderJson(report),
    'json of what could not run': renderErrorJson('verify', error, 'BAD'),
    junit: renderJunit(report) + renderJunit(failed),
    html: renderEvidence(report, witness) + renderEvidence(failed, witness),
  };
}

describe.each(hostile)('%s in every place of a report', (_, text) => {
  it('steers no terminal in any form', () => {
    const found = Object.entries(formsOf(text)).filter(([, form]) => steering.test(form));
    expect(found.map(([name, form]) => `${name}: ${JSON.stringify(steering.exec(form)?.[0])}`)).toEqual([]);
  });

  it('adds no line to what people and CI systems read', () => {
    const { people = '', junit = '' } = formsOf(text);
    const of = formsOf('plain');
    const lines = (form: string): number => form.split('\n').length;
    // The hint of a failure has a line of its own.
    expect([lines(people), lines(junit)]).toEqual([lines(of['people'] ?? ''), lines(of['junit'] ?? '')]);
  });

  it('is the same text to a program that reads the JSON', () => {
    expect(JSON.parse(formsOf(text)['json'] ?? '')).toMatchObject({ items: [{ name: text }, {}] });
  });

  it('makes no element and no attribute', () => {
    const { html = '', junit = '' } = formsOf(text);
    for (const form of [html, junit]) {
      expect(form).not.toMatch(/<(?:script|a)\b/i);
      // What is quoted is no attribute.
      expect(form.replaceAll(/"[^"]*"/g, '""')).not.toMatch(/<[^>]*\son\w+=/i);
    }
    expect(html.match(/<\/style>/g)).toHaveLength(2);
    expect(junit).not.toContain('</style>');
  });
});

it.each([
  ['E_SIGNATURE', 'BAD'],
  ['E_MISSING', 'BAD'],
  ['E_ABORTED', 'NOT PROVEN'],
  ['E_NETWORK', 'NOT PROVEN'],
  ['E_NOT_FOUND', 'NOT PROVEN'],
  ['E_INTERNAL', 'NOT PROVEN'],
] as const)('a check that ended with %s is %s in every form', (code, verdict) => {
  const invocation = parseCommandLine(
    ['verify', 'usb/b'],
    () => {},
    () => {},
  );
  if (!invocation) throw new Error('no command');
  const error = new MirrorError(code, 'why');
  const report = failedReport(invocation, error);
  expect(renderEvidence(report, witness)).toContain(`<title>verify usb/b: ${verdict}</title>`);
  expect(JSON.parse(renderErrorJson('verify', error, report.verdict))).toMatchObject({ ok: false, verdict });
  expect(renderJunit(report)).toContain('<property name="checked" value="usb/b"/>');
});
