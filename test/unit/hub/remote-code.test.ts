import { describe, expect, it } from 'vitest';
import { parsePythonJson } from '../../../src/hub/python-json.ts';
import { referencesIn, referredFiles } from '../../../src/hub/safety/remote-code.ts';

const references = (text: string): string[] =>
  referencesIn('config.json', text).map(({ key, value, repo }) => `${key} ${value} ${repo ?? 'here'}`);

describe('a configuration leads to code', () => {
  it.each<[string, string[]]>([
    ['{"auto_map":{"AutoModel":"m.C"}}', ['auto_map.AutoModel m.C here']],
    ['{"auto_map":["t.Slow",null]}', ['auto_map t.Slow here']],
    ['{"auto_map":{"A":{"pil":"a/b--i.C"}}}', ['auto_map.A.pil a/b--i.C a/b']],
    ['{"text_config":{"auto_map":{"A":"m.C"}}}', ['text_config.auto_map.A m.C here']],
    ['{"custom_pipelines":{"my.own":{"impl":"p.P","pt":["m.C"]}}}', ['custom_pipelines.my.own.impl p.P here']],
    ['{"impl":"p.P","x":{"impl":"p.P"}}', []],
    ['{"a\\u001b[31m":{"auto_map":["m.C"]}}', ['a\\u001b[31m.auto_map m.C here']],
    ['{"auto_map":"m.C"}', []],
    // Loaders written in Python take this for JSON.
    ['{"limit":[0.0,Infinity,-Infinity,NaN],"auto_map":{"A":"a/b--m.C"}}', ['auto_map.A a/b--m.C a/b']],
    ['[{"type":"own.Pooling"},{"type":"sentence_transformers.models.Dense"}]', ['0.type own.Pooling here']],
    [
      '{"types":{"q_0":"own.Encoder","d_0":"sentence_transformers.models.Dense"},"structure":{"q":["q_0"]}}',
      ['types.q_0 own.Encoder here'],
    ],
    ['{"types":{"a":"b"}}', []],
    ['no JSON, NaN', []],
  ])('%s', (text, expected) => {
    expect(references(text)).toEqual(expected);
  });

  it('however deep it is nested', () => {
    const depth = 200_000;
    const text = `${'['.repeat(depth)}{"auto_map":["m.C"]}${']'.repeat(depth)}`;
    expect(references(text)).toEqual(['auto_map m.C here']);
  });
});

it('code that is run without being named anywhere is referred to', () => {
  const code = new Map([
    ['custom_generate/generate.py', 'from .beam import search'],
    ['custom_generate/beam.py', ''],
    ['other.py', ''],
  ]);
  expect([...referredFiles([], code)].sort()).toEqual(['custom_generate/beam.py', 'custom_generate/generate.py']);
});

describe('JSON as Python reads it', () => {
  it.each<[string, unknown]>([
    ['{"a":NaN,"b":[Infinity,-Infinity],"c":"NaN, \\"-Infinity"}', { a: null, b: [null, null], c: 'NaN, "-Infinity' }],
    ['{"NaN":1}', { NaN: 1 }],
    [`{"a":"${'\\\\\\"'.repeat(500_000)}","b":NaN}`, { a: '\\"'.repeat(500_000), b: null }],
  ])('gives null for what is no number elsewhere: %#', (text, value) => {
    expect(parsePythonJson(text)).toEqual(value);
  });

  it.each(['NaNa', '{"a":+Infinity}', '{a:NaN}', ''])('is no JSON: %j', (text) => {
    expect(() => parsePythonJson(text)).toThrow(SyntaxError);
  });
});
