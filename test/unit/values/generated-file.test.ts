import { expect, it } from 'vitest';
import { sha256 } from '../../../src/core/digest.ts';
import { fileText, type GeneratedFile, isUntouched } from '../../../src/values/generated-file.ts';

const zone = { name: 'site-a', receipt: sha256('receipt'), models: undefined, modelList: [], images: [] };
const file: GeneratedFile = { path: 'a.yaml', consumer: 'sie', body: 'a: 1\n' };

it('knows its own files again', () => {
  expect(isUntouched(fileText(file, zone))).toBe(true);
  expect(isUntouched(fileText({ ...file, interpreter: '/bin/sh' }, zone))).toBe(true);
});

it.each([
  ['changed since', `${fileText(file, zone)}b: 2\n`],
  ['of somebody else', 'a: 1\n'],
  ['empty', ''],
  ['with the marker further down', `a: 1\nb: 2\nc: 3\n${fileText(file, zone)}`],
])('takes no file for its own that is %s', (_, text) => {
  expect(isUntouched(text)).toBe(false);
});

it('says which receipt it is from', () => {
  expect(fileText(file, zone)).toContain(zone.receipt);
});

it('begins a script with its interpreter', () => {
  expect(fileText({ ...file, interpreter: '/bin/sh' }, zone).split('\n')[0]).toBe('#!/bin/sh');
});
