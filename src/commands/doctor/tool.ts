import { statfs } from 'node:fs/promises';
import type { Receipt } from '../../bundle/records/receipt.ts';
import { toMirrorError } from '../../core/errors.ts';
import { formatBytes } from '../../core/text.ts';
import { toolName, version } from '../../core/version.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from '../../doctor/finding.ts';
import { steps } from '../../doctor/names.ts';
import type { Context } from '../context.ts';

/** Receipts, journals and reports need this at most. */
const wantedBytes = 64 * 1024 * 1024;

/** The tool itself and the machine that it runs on. */
export async function checkTool(receipts: readonly Receipt[], context: Context): Promise<Finding[]> {
  const here = context.path('.');
  return [
    ok('tool', 'version', toolName),
    nodeFinding(context.nodeVersion),
    ...newerThanUs(receipts.map(({ tool }) => tool)),
    await freeSpace(here),
  ];
}

/** As `engines` in package.json has it. */
const oldestNode = '20.19.0';

function nodeFinding(found: string): Finding {
  if (!isNewer(oldestNode, found)) return ok('tool', 'Node.js', found);
  return warningAt(
    'tool',
    'Node.js',
    'node-old',
    `this is ${found}, ${oldestNode} is the oldest that is tested`,
    steps(
      'where the bundle brings one: BUNDLE/node-linux-x64 BUNDLE/sie-mirror.mjs doctor, and so for every command',
      'else, on the online side, fetch https://nodejs.org/dist/latest-v22.x/node-VERSION-linux-x64.tar.gz, and: sie-mirror bundle --out MEDIUM --with-node linux-x64=node-VERSION-linux-x64.tar.gz',
    ),
  );
}

async function freeSpace(path: string): Promise<Finding> {
  try {
    const { bavail, bsize, blocks } = await statfs(path);
    return spaceFinding(path, blocks === 0 ? undefined : bavail * bsize);
  } catch (error) {
    return notSeen('tool', 'free space', toMirrorError(error).message);
  }
}

/** @param free bytes; undefined where the file system does not count them */
export function spaceFinding(path: string, free: number | undefined): Finding {
  if (free === undefined) return notSeen('tool', 'free space', `\`${path}\` does not say what is free`);
  if (free >= wantedBytes) return ok('tool', 'free space', `${formatBytes(free)} at \`${path}\``);
  return faultAt(
    'tool',
    'free space',
    'disk-full',
    `${formatBytes(free)} at \`${path}\``,
    steps(`see what takes it: df -h ${path}; du -xh ${path} | sort -h | tail`, 'and remove what nobody needs'),
  );
}

/** What a newer release has written may say more than we understand. */
export function newerThanUs(tools: readonly string[]): Finding[] {
  const newer = tools.find((tool) => isNewer(tool.replace(/^.*\//, ''), version));
  if (newer === undefined) return [];
  return [
    warningAt(
      'tool',
      'version',
      'bundle-newer',
      `this is ${toolName}, the import was done by ${newer}`,
      'the newer one is on the medium, with the same flags: node BUNDLE/sie-mirror.mjs doctor',
    ),
  ];
}

function isNewer(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0));
  const index = (left ?? []).findIndex((part, place) => part !== (right?.[place] ?? 0));
  return index >= 0 && (left?.[index] ?? 0) > (right?.[index] ?? 0);
}
