import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CarriedFile, type CarriedNode, nodeFiles } from '../../bundle/writing/carried.ts';
import { compressionOf } from '../../core/compression.ts';
import { MirrorError } from '../../core/errors.ts';
import type { Content } from '../../core/ports.ts';
import {
  executableHeadBytes,
  type ExecutablePlatform,
  executablePlatforms,
  platformOfExecutable,
} from '../../fs/executable.ts';
import { findInGzipTar } from '../../fs/gzip-tar.ts';
import { fileContent } from '../../fs/read.ts';
import type { Context } from '../context.ts';

/** Every Node.js that goes along, and the files that are of them. */
export interface CarriedNodes {
  nodes: CarriedNode[];
  files: CarriedFile[];
}

/** A Node.js as it was found, and its licence where there is one. */
interface FoundProgram {
  program: Content;
  licence?: Content | undefined;
}

/** What this tool runs on. */
const leastVersion = { major: 20, minor: 19 };

/**
 * The programs that go along so that the zone needs none, each with its licence. Each is read through before anything
 * is written: it has to be a program of that platform, and where it says its release, one that runs this tool.
 * @param choices `PLATFORM=FILE`: the program itself, or a `.tar.gz` of a release
 * @throws E_USAGE, E_NOT_FOUND, E_CORRUPT
 */
export async function readNodes(choices: readonly string[], context: Context): Promise<CarriedNodes> {
  const carried: CarriedNodes = { nodes: [], files: [] };
  for (const choice of choices) {
    const { platform, file } = parseChoice(choice);
    if (carried.nodes.some((node) => node.platform === platform))
      throw new MirrorError('E_USAGE', `\`--with-node\` names \`${platform}\` twice`);
    const { program, licence } = await findProgram(context.path(file), file);
    const names = nodeFiles(platform);
    const sha256 = await checkProgram(program, platform, file, context);
    carried.nodes.push({ platform, name: names.program });
    carried.files.push({ name: names.program, content: program, sha256 });
    if (licence)
      carried.files.push({ name: names.licence, content: licence, sha256: (await look(licence, context)).sha256 });
    else
      context.report({
        type: 'warning',
        text: `\`${file}\` comes without the LICENSE of Node.js, which has to go along: take it from a release archive`,
      });
  }
  return carried;
}

function parseChoice(choice: string): { platform: ExecutablePlatform; file: string } {
  const at = choice.indexOf('=');
  const platform = executablePlatforms.find((each) => each === choice.slice(0, Math.max(at, 0)));
  if (platform === undefined || at === choice.length - 1)
    throw new MirrorError('E_USAGE', `\`--with-node ${choice}\`: a platform and a file were wanted`, {
      hint: `write it as \`--with-node PLATFORM=FILE\`, the platform one of ${executablePlatforms.join(', ')}`,
    });
  return { platform, file: choice.slice(at + 1) };
}

async function findProgram(path: string, name: string): Promise<FoundProgram> {
  const start = await firstBytes(path);
  const packed = start.toString('latin1', 0, 4) === 'PK\u0003\u0004' ? 'zip' : compressionOf(start);
  if (packed === 'gzip') return findInArchive(path, name);
  if (packed !== undefined)
    throw new MirrorError('E_USAGE', `\`${name}\` is an archive of ${packed}, which is not read here`, {
      hint: 'give the `.tar.gz` of the release, or the program out of it',
    });
  const licence = await licenceBeside(path);
  return { program: await wholeFile(path), ...(licence === undefined ? {} : { licence }) };
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function wholeFile(path: string): Promise<Content> {
  return fileContent([{ path, offset: 0, size: (await stat(path)).size }]);
}

/** Where an unpacked release has it: beside `bin`, or beside `node.exe`. */
async function licenceBeside(program: string): Promise<Content | undefined> {
  for (const folder of [join(dirname(program), '..'), dirname(program)]) {
    const path = join(folder, 'LICENSE');
    const text = await readFile(path, 'latin1').catch(() => '');
    if (text.startsWith('Node.js is licensed')) return wholeFile(path);
  }
  return undefined;
}

async function findInArchive(path: string, name: string): Promise<FoundProgram> {
  const found = await findInGzipTar(path, (member) => /^[^/]+\/(?:bin\/node|LICENSE)$/.test(member));
  const program = found.find((member) => member.path.endsWith('/bin/node'));
  if (!program)
    throw new MirrorError('E_USAGE', `\`${name}\` holds no \`bin/node\`: it is no release archive of Node.js`, {
      hint: 'give a `node-vVERSION-PLATFORM.tar.gz` of https://nodejs.org/dist, or the program itself',
    });
  const licence = found.find((member) => member.path.endsWith('/LICENSE'));
  return { program: program.content, ...(licence ? { licence: licence.content } : {}) };
}

/** @returns the sha256 of the program, in hex */
async function checkProgram(
  program: Content,
  platform: ExecutablePlatform,
  name: string,
  context: Context,
): Promise<string> {
  const { head, release, sha256 } = await look(program, context);
  const found = platformOfExecutable(head);
  if (found !== platform)
    throw new MirrorError(
      'E_USAGE',
      `\`${name}\` is ${found === undefined ? 'no program that is known here' : `a program for \`${found}\``}, one for \`${platform}\` was wanted`,
      { hint: 'give the `node` (`node.exe`) of that platform, or the `.tar.gz` of its release' },
    );
  if (release === undefined) {
    context.report({ type: 'warning', text: `\`${name}\` does not say which release of Node.js it is` });
    return sha256;
  }
  const [major = 0, minor = 0] = release.split('.').map(Number);
  if (major < leastVersion.major || (major === leastVersion.major && minor < leastVersion.minor))
    throw new MirrorError(
      'E_USAGE',
      `\`${name}\` is Node.js ${release}, at least ${leastVersion.major}.${leastVersion.minor} was wanted`,
      { hint: 'take a newer release of https://nodejs.org/dist' },
    );
  return sha256;
}

/** Every release names its own source in the program, as in https://nodejs.org/download/release/v24.1.0/node-v24.1.0.tar.gz */
const releasePattern = /\/v(\d+\.\d+\.\d+)\/node-v\1\.tar\.gz/;
const releaseBytes = 128;

/** Reads a file once: how it begins, what it hashes to, and of which release of Node.js it speaks. */
async function look(
  content: Content,
  { signal }: Context,
): Promise<{ head: Buffer; sha256: string; release: string | undefined }> {
  const hash = createHash('sha256');
  let head = Buffer.alloc(0);
  let before = Buffer.alloc(0);
  let release: string | undefined;
  for await (const chunk of content.open(0, signal)) {
    hash.update(chunk);
    if (head.length < executableHeadBytes)
      head = Buffer.concat([head, chunk.subarray(0, executableHeadBytes - head.length)]);
    // A name may go over the end of a chunk.
    const seen = Buffer.concat([before, chunk]);
    if (release === undefined && seen.includes('/node-v')) release = releasePattern.exec(seen.toString('latin1'))?.[1];
    before = Buffer.from(seen.subarray(-releaseBytes));
  }
  return { head, sha256: hash.digest('hex'), release };
}
