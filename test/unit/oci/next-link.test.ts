import { expect, it } from 'vitest';
import { nextLink } from '../../../src/oci/registry/next-link.ts';

it.each<[string, string | undefined]>([
  ['', undefined],
  ['</v2/a/tags/list?n=100&last=v1>; rel="next"', '/v2/a/tags/list?n=100&last=v1'],
  ['</x>;rel=next', '/x'],
  ['</x>; rel=Next; title=more', '/x'],
  ['</x>; title="a; b, c"; rel="next"', '/x'],
  ['</first>; rel="first", </x?a=1,2;3>; type="application/json"; rel="next"', '/x?a=1,2;3'],
  ['</x>; rel="last next"', '/x'],
  ['</x>; rel="prev"', undefined],
  ['</x>; rel=nextish', undefined],
  ['</x>; title="; rel=next; a"', undefined],
  ['</x>', undefined],
  ['nothing of the kind', undefined],
])('the next page by %j is %s', (header, address) => {
  expect(nextLink(header)).toBe(address);
});
