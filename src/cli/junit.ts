import type { Report, ReportItem } from '../core/report.ts';
import { printable } from '../core/text.ts';

/** A report as a test result that every CI system shows: https://github.com/testmoapp/junitxml */
export function renderJunit(report: Report): string {
  const failed = report.items.filter(({ state }) => state === 'failed').length;
  const skipped = report.items.filter(({ state }) => state === 'skipped').length;
  const counts = `tests="${report.items.length}" failures="${failed}" errors="0"`;
  const facts = Object.entries(report.facts ?? {}).map(
    ([name, value]) => `<property name="${escapeXml(name)}" value="${escapeXml(value)}"/>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="sie-mirror" ${counts}>`,
    // Jenkins refuses this number of all suites together, and wants it of one.
    `<testsuite name="sie-mirror ${escapeXml(report.command)}" ${counts} skipped="${skipped}">`,
    ...(facts.length > 0 ? [`<properties>${facts.join('')}</properties>`] : []),
    ...report.items.map((item) => testCase(report.command, item)),
    `<system-out>${report.summary.map(escapeXml).join('\n')}</system-out>`,
    '</testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase(command: string, { kind, name, state, error }: ReportItem): string {
  const named = `<testcase classname="${escapeXml(`${command}.${kind}`)}" name="${escapeXml(name)}"`;
  if (state === 'skipped') return `${named}><skipped/></testcase>`;
  if (!error) return `${named}/>`;
  const { code, message, hint } = error;
  const lines = hint === undefined ? [message] : [message, `hint: ${hint}`];
  return `${named}><failure type="${code}" message="${escapeXml(message)}">${lines.map(escapeXml).join('\n')}</failure></testcase>`;
}

/** For XML and HTML, in text and in quoted attributes. Control characters, which XML has no way to hold, are written out. */
export function escapeXml(text: string): string {
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return printable(text).replace(/[&<>"'\ufffe\uffff\ud800-\udfff]/gu, (character) => escapes[character] ?? '\ufffd');
}
