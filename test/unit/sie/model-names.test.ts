import { expect, it } from 'vitest';
import { sameButCase, servedAs, weightsOf } from '../../../src/sie/model-names.ts';

const known = (...ids: string[]): { id: string; aliases: string[] }[] => ids.map((id) => ({ id, aliases: [] }));

// `sie_id` and `hf_id` of all models of sie-server 0.3.4 and 0.10.1 that differ.
it.each([
  ['docling', 'superlinked/docling-artifacts'],
  ['nvidia/NV-Embed-v2', 'Hyukkyu/nv-embed-v2'],
  ['sugiv/stablebridge-pruner-highlighter', 'BAAI/bge-reranker-v2-m3'],
  ['superlinked/pii-redact', 'urchade/gliner_multi_pii-v1'],
  ['BAAI/bge-m3', 'BAAI/bge-m3'],
  ['BAAI/bge-m3:banking', 'BAAI/bge-m3'],
])('the weights of %s are those of %s', (id, repo) => {
  expect(weightsOf(id)).toBe(repo);
});

it.each([
  ['itself', 'BAAI/bge-m3', known('BAAI/bge-m3', 'BAAI/bge-m3:sparse', 'x/y'), ['BAAI/bge-m3']],
  [
    'its profiles where nothing else is served',
    'BAAI/bge-m3',
    known('BAAI/bge-m3:a', 'BAAI/bge-m3:b'),
    ['BAAI/bge-m3:a', 'BAAI/bge-m3:b'],
  ],
  ['the model whose weights it is', 'superlinked/docling-artifacts', known('docling', 'x/y'), ['docling']],
  [
    'itself before another with its weights',
    'BAAI/bge-reranker-v2-m3',
    known('sugiv/stablebridge-pruner-highlighter', 'BAAI/bge-reranker-v2-m3'),
    ['BAAI/bge-reranker-v2-m3'],
  ],
  ['the model that has it as another name', 'org/a', [{ id: 'org/b', aliases: ['org/a'] }], ['org/b']],
  ['nothing for another case', 'baai/bge-m3', known('BAAI/bge-m3'), []],
])('a repo is served as %s', (_, repo, models, ids) => {
  expect(servedAs(repo, models)).toEqual(ids);
});

it('knows ids that differ in case only', () => {
  expect(sameButCase('baai/BGE-m3', known('x/y', 'BAAI/bge-m3'))).toBe('BAAI/bge-m3');
  expect(sameButCase('BAAI/bge-m3', known('BAAI/bge-m3'))).toBeUndefined();
});
