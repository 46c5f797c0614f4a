import { expect, it } from 'vitest';
import { renderJunit } from '../../../src/cli/junit.ts';
import { makeReport, type ReportItem } from '../../../src/core/report.ts';

/**
 * Elements and attributes of the schema that Jenkins holds reports to, and refuses them by:
 * https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
 */
const attributes: Record<string, string[]> = {
  testsuites: ['name', 'time', 'tests', 'failures', 'errors'],
  testsuite: ['name', 'time', 'tests', 'failures', 'errors', 'skipped', 'timestamp', 'hostname', 'id', 'package'],
  properties: [],
  property: ['name', 'value'],
  testcase: ['name', 'time', 'classname'],
  skipped: ['type', 'message'],
  failure: ['type', 'message'],
  'system-out': [],
};

const items: ReportItem[] = [
  { kind: 'volume', name: 'b.0001.tar', state: 'done' },
  { kind: 'volume', name: 'b.0002.tar', state: 'skipped' },
  {
    kind: 'file',
    name: '"><testcase name="',
    state: 'failed',
    error: { code: 'E_CORRUPT', message: '"<&', hint: ']]>', at: {} },
  },
];

it('a JUnit report has nothing that the schema of Jenkins does not know, whatever things are called', () => {
  const report = { ...makeReport('verify', items, {}, ['a line']), facts: { '"><x y="': '"><x y="' } };
  const tags = [...renderJunit(report).matchAll(/<([a-z][\w-]*)((?:\s+[\w-]+="[^"<>]*")*)\s*\/?>/g)];

  expect(tags.map(([, name = '']) => name).sort()).toEqual([...Object.keys(attributes), 'testcase', 'testcase'].sort());
  for (const [, name = '', given = ''] of tags)
    for (const [, attribute] of given.matchAll(/\s([\w-]+)="[^"]*"/g)) expect(attributes[name]).toContain(attribute);
});
