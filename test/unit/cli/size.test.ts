import { expect, it } from 'vitest';
import { parseCount, parseSize, parseVolumeSize } from '../../../src/cli/size.ts';
import { codeOfCall } from '../../support/failures.ts';

it.each([
  ['4GiB-1', 4_294_967_295],
  ['4GiB', 4_294_967_296],
  ['700MiB', 734_003_200],
  ['700 mib', 734_003_200],
  [' 1KiB ', 1024],
  ['25GB', 25_000_000_000],
  ['1.5KiB', 1536],
  ['1.5TB', 1_500_000_000_000],
  ['2TiB', 2_199_023_255_552],
  ['1048576', 1_048_576],
  ['5b', 5],
  ['1KB', 1000],
  ['0', 0],
  ['fat32', 4_294_967_295],
  ['DVD', 4_700_372_992],
  ['bd25', 25_025_314_816],
])('reads %j as %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

it.each([
  '',
  ' ',
  'x',
  '-1',
  '4G',
  '4GiB-2',
  '4GiB+1',
  '1,5GiB',
  '4 GiB GiB',
  '0x10',
  '1e3',
  'NaN',
  'Infinity',
  '.5GiB',
  '4PiB',
  'constructor',
  'floppy',
])('refuses %j as a size', (text) => {
  expect(codeOfCall(() => parseSize(text))).toBe('E_USAGE');
});

it.each(['dvd', 'dvd-dl', 'bd25', 'bd50', 'BD25'])(
  'a volume for %s leaves room on it for the tool, the inventory and the file system',
  (disc) => {
    expect(parseSize(disc) - parseVolumeSize(disc)).toBe(64 * 1024 ** 2);
  },
);

it.each(['fat32', '4GiB-1', '700MiB', '1048576'])('a volume of %s is as large as that', (text) => {
  expect(parseVolumeSize(text)).toBe(parseSize(text));
});

it('refuses a size beyond counting', () => {
  expect(codeOfCall(() => parseSize('9'.repeat(400)))).toBe('E_USAGE');
  expect(codeOfCall(() => parseSize(`${'9'.repeat(20)}TiB`))).toBe('E_USAGE');
});

it('reads whole numbers from the least one', () => {
  expect(parseCount('--n', 1)('1')).toBe(1);
  expect(parseCount('--n', 1)('1024')).toBe(1024);
});

it.each(['0', '-1', '1.5', '', 'x', '1 2', 'Infinity', 'NaN', '9007199254740992'])('refuses %j as a count', (text) => {
  expect(codeOfCall(() => parseCount('--n', 1)(text))).toBe('E_USAGE');
});
