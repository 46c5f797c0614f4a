import { expect, it } from 'vitest';
import { readTreeDocument, treeDocument } from '../../../src/hub/tree-document.ts';
import { codeOfCall } from '../../support/failures.ts';

it('gives back what it was made of, whatever a file is called', () => {
  const files = ['config.json', '__proto__'].map((path, index) => ({
    path,
    size: index,
    gitOid: String(index).repeat(40),
    checksum: { algorithm: 'sha256' as const, hex: String(index).repeat(64) },
  }));
  const found = readTreeDocument(treeDocument(files), 'trees/x.json');
  expect([...found.keys()].sort()).toEqual(['__proto__', 'config.json']);
  expect(found.get('__proto__')).toEqual({ algorithm: 'sha256', hex: '1'.repeat(64) });
});

it.each(['{"files":[]}', '{"files":null}', '{"files":"config.json"}', '{}', '[]', '{"files":{"a":{}}}'])(
  'takes no %s for a list in which there is nothing',
  (text) => {
    expect(codeOfCall(() => readTreeDocument(text, 'trees/x.json'))).toBe('E_CORRUPT');
  },
);
