import { expect, it } from 'vitest';
import { renderFailures } from '../../../src/cli/render.ts';
import { MirrorError } from '../../../src/core/errors.ts';
import { failedItem } from '../../../src/core/report.ts';

const failed = (name: string, hint: string): ReturnType<typeof failedItem> =>
  failedItem('file', name, new MirrorError('E_MISSING', `\`${name}\` is missing`, { hint }));

it('what many failed items in a row have for a hint is said once, after the last of them', () => {
  const items = [failed('a', 'fetch it'), failed('b', 'fetch it'), failed('c', 'look for it'), failed('d', 'fetch it')];
  expect(renderFailures(items).split('\n')).toEqual([
    'error: `a` is missing',
    'error: `b` is missing',
    '  hint: fetch it',
    'error: `c` is missing',
    '  hint: look for it',
    'error: `d` is missing',
    '  hint: fetch it',
    '',
  ]);
});
