import { expect, it } from 'vitest';
import { tagGlob } from '../../../src/oci/tag-glob.ts';

it.each<[string, string[], string[]]>([
  ['v1', ['v1'], ['v10', 'xv1']],
  ['v1.*', ['v1.', 'v1.2', 'v1.2.3'], ['v1', 'v11', 'v2.0']],
  ['*', ['', 'v1', 'latest'], []],
  ['?', ['a', '1'], ['', 'ab']],
  ['v[0-9]', ['v0', 'v9'], ['va', 'v10']],
  ['v[!0-9]', ['va'], ['v1']],
  ['v[^a]', ['vb'], ['va']],
  ['[]a]', [']', 'a'], ['b']],
  ['[\\]', ['\\'], ['a']],
  ['[', ['['], ['a']],
  ['a+b(c)|d', ['a+b(c)|d'], ['aab', 'd']],
  ['*-cuda12-*', ['v0.3.4-cuda12-default'], ['v0.3.4-cuda13-default']],
])('%s means some tags and no others', (pattern, fitting, others) => {
  const fits = tagGlob(pattern);

  expect(fitting.filter((tag) => !fits(tag))).toEqual([]);
  expect(others.filter(fits)).toEqual([]);
});
