import { expect, it } from 'vitest';
import { readTreeDocument, treeDocument } from '../../../src/hub/snapshot/tree-document.ts';
import { codeOfCall } from '../../support/failures.ts';

it('gives back what it was made of, whatever a file is called', () => {
  const files = ['config.json', '__proto__'].map((path, index) => ({
    path,
    size: index,
    gitOid: String(index).repeat(40),
    checksum: { algorithm: 'sha256' as const, hex: String(index).repeat(64) },
  }));
  const found = readTreeDocument(Buffer.from(treeDocument(files)), 'trees/x.json');
  expect([...found.keys()].sort()).toEqual(['__proto__', 'config.json']);
  expect(found.get('__proto__')).toEqual({ algorithm: 'sha256', hex: '1'.repeat(64) });
});

it.each([
  '{"files":[]}',
  '{"files":null}',
  '{"files":"config.json"}',
  '{}',
  '[]',
  '{"files":{"a":{}}}',
  '{"files":{}',
  '{"files":{"a":{"blob_id":"1"},"a":{"blob_id":"2"}}}',
  '{"files":{}} x',
])('takes no %s for a list in which there is nothing', (text) => {
  expect(codeOfCall(() => readTreeDocument(Buffer.from(text), 'trees/x.json'))).toBe('E_CORRUPT');
});

it('passes over what it does not know, wherever it stands', () => {
  const text =
    '{ "format_version": 1, "more": [1, {"files": {}}], "files": { "a b": { "size": 1, "x": [null], "blob_id": "12" } }, "end": "}" }';
  expect([...readTreeDocument(Buffer.from(text), 'trees/x.json')]).toEqual([
    ['a b', { algorithm: 'git-sha1', hex: '12' }],
  ]);
});
