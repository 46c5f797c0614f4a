/** Platforms as Node.js names its releases: https://nodejs.org/en/download */
export const executablePlatforms = [
  'linux-x64',
  'linux-arm64',
  'linux-ppc64le',
  'linux-s390x',
  'darwin-x64',
  'darwin-arm64',
  'win-x64',
  'win-arm64',
] as const;
export type ExecutablePlatform = (typeof executablePlatforms)[number];

/** As many first bytes of a file as tell what it is an executable for. */
export const executableHeadBytes = 1024;

/** https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html */
const elfMachines: Record<number, ExecutablePlatform> = {
  0x15: 'linux-ppc64le',
  0x16: 'linux-s390x',
  0x3e: 'linux-x64',
  0xb7: 'linux-arm64',
};
/** https://github.com/apple-oss-distributions/xnu/blob/main/EXTERNAL_HEADERS/mach-o/loader.h */
const machTypes: Record<number, ExecutablePlatform> = { 0x01000007: 'darwin-x64', 0x0100000c: 'darwin-arm64' };
/** https://learn.microsoft.com/en-us/windows/win32/debug/pe-format#machine-types */
const peMachines: Record<number, ExecutablePlatform> = { 0x8664: 'win-x64', 0xaa64: 'win-arm64' };

/** What platform a file is a program for, by its magic bytes; undefined for anything else. */
export function platformOfExecutable(head: Buffer): ExecutablePlatform | undefined {
  if (head.length < 64) return undefined;
  if (head.toString('latin1', 0, 4) === '\x7fELF') return elfPlatform(head);
  if (head.readUInt32LE(0) === 0xfeedfacf) return machTypes[head.readUInt32LE(4)];
  if (head.toString('latin1', 0, 2) === 'MZ') return pePlatform(head);
  return undefined;
}

function elfPlatform(head: Buffer): ExecutablePlatform | undefined {
  const [wordSize, order, abi] = [head[4], head[5], head[7]];
  // 0 is what linkers write for Linux, 3 says so.
  if (wordSize !== 2 || (abi !== 0 && abi !== 3)) return undefined;
  const isLittle = order === 1;
  const type = isLittle ? head.readUInt16LE(16) : head.readUInt16BE(16);
  const platform = elfMachines[isLittle ? head.readUInt16LE(18) : head.readUInt16BE(18)];
  const isProgram = type === 2 || type === 3;
  return isProgram && isLittle === (platform !== 'linux-s390x') ? platform : undefined;
}

function pePlatform(head: Buffer): ExecutablePlatform | undefined {
  const start = head.readUInt32LE(0x3c);
  if (start + 6 > head.length || head.toString('latin1', start, start + 4) !== 'PE\0\0') return undefined;
  return peMachines[head.readUInt16LE(start + 4)];
}
