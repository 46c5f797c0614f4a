import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { faults } from '../../src/doctor/faults.ts';
import { projectRoot } from '../support/cli.ts';
import { doctorCases } from '../support/doctor-cases.ts';
import { firstCause, SickZone } from '../support/sick-zone.ts';

const page = join(projectRoot, 'docs/doctor.md');
const marks = ['<!-- faults: printed by the tests -->', '<!-- end of faults -->'] as const;
const printed = new Map<string, string>();

it.each(doctorCases.map((each) => [each.fault, each.when, each] as const))(
  'names %s first when %s',
  async (fault, when, { look }) => {
    await using zone = await SickZone.start();
    const report = await look(zone);
    const text = firstCause(report, zone);
    printed.set(fault, `#### ${fault}\n\nWhen ${when}:\n\n\`\`\`\n${text}\n\`\`\`\n`);
    expect(report.facts).toEqual({ cause: fault });
    expect(text).toContain('fix: ');
    expect(text).not.toContain('canary');
  },
);

it('has a case for every fault, but for those that have tests of their own', () => {
  const built = new Set<string>(doctorCases.map(({ fault }) => fault));
  expect(Object.keys(faults).filter((id) => !built.has(id))).toEqual(['disk-full', 'virtual-host']);
});

it('prints what docs/doctor.md says (write the page anew with DOCTOR_PAGE=write)', async () => {
  const text = await readFile(page, 'utf8');
  const [before = '', rest = ''] = text.split(marks[0]);
  const [, after = ''] = rest.split(marks[1]);
  const table = doctorCases.map(({ fault }) => printed.get(fault) ?? '').join('\n');
  const wanted = `${before}${marks[0]}\n\n${table}\n${marks[1]}${after}`;
  if (process.env['DOCTOR_PAGE'] === 'write') await writeFile(page, wanted);
  expect(await readFile(page, 'utf8')).toBe(wanted);
});
