import { expect, it } from 'vitest';
import { isRepoName, parseRepo } from '../../../src/hub/repo.ts';
import { failureOfCall } from '../../support/failures.ts';

it.each([
  ['https://huggingface.co/BAAI/bge-m3', '`BAAI/bge-m3`'],
  ['hf.co/BAAI/bge-m3/tree/main', '`BAAI/bge-m3@main`'],
  ['https://huggingface.co/org/x/blob/v1.0/dir/config.json', '`org/x@v1.0`'],
  ['https://huggingface.co/datasets/rajpurkar/squad', '`rajpurkar/squad` with `--type dataset`'],
  ['datasets/rajpurkar/squad', '`rajpurkar/squad` with `--type dataset`'],
  ['https://huggingface.co/spaces/org/app/tree/main', '`org/app@main` with `--type space`'],
])('the address of a page is no repo, and says how to write it: %s', (text, wanted) => {
  const { code, hint } = failureOfCall(() => parseRepo(text));
  expect([code, hint]).toEqual(['E_USAGE', `write it as ${wanted}`]);
});

it.each(['https://huggingface.co', 'https://huggingface.co/', 'https://x.example/a--b/c', 'a b', 'org/x/y/z'])(
  'what is no page gets the general hint: %s',
  (text) => {
    expect(failureOfCall(() => parseRepo(text)).hint).toContain('ORG/NAME@REVISION');
  },
);

it.each(['*.safetensors', 'model-0000[12].bin', 'a/b/config.json', '.gitattributes.json'])(
  'a file behind a repo is no repo, and gets the hint that names what chooses files: %s',
  (text) => {
    const { code, hint } = failureOfCall(() => parseRepo(text));
    expect([code, hint]).toEqual(['E_USAGE', expect.stringContaining('--include')]);
  },
);

it.each([
  ['org/_x', true],
  ['_org/x_', true],
  ['gpt2', true],
  ['x'.repeat(96), true],
  ['x'.repeat(97), false],
  ['org/x-', false],
  ['org-/x', false],
  ['org/x.', false],
  ['org/-x', false],
  ['org/.x', false],
  ['org/a--b', false],
  ['org/x.git', false],
  ['org/é', false],
])('the name of a repo is what huggingface_hub takes for one: %s is %s', (text, isName) => {
  expect(isRepoName(text)).toBe(isName);
});
