import { createHash } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isNodeFile } from '../../bundle/writing/carried.ts';
import { bundleFiles } from '../../bundle/records/inventory.ts';
import { VolumeJournal } from '../../bundle/writing/journal.ts';
import { chainsOf, type FileMember, type VolumePlan } from '../../bundle/writing/layout.ts';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { toolName } from '../../core/version.ts';
import { abandonedMs } from '../../fs/freed.ts';

/**
 * Which volumes an earlier run has finished.
 * @param first the first of the bundle's directories: more may be added when a medium turns out to be too small
 * @returns undefined where the store cannot be written to
 */
export async function openJournal(
  store: string,
  first: string,
  plans: readonly VolumePlan[],
): Promise<VolumeJournal | undefined> {
  const decided = createHash('sha256').update(toolName);
  for (const { name, members } of plans) {
    decided.update(name);
    for (const member of members) {
      const what = member.kind === 'file' ? await identityOf(member, store) : [member.path, member.target];
      decided.update(`${JSON.stringify([member.offset, ...what])}\n`);
    }
  }
  const id = sha256(first).slice('sha256:'.length, 'sha256:'.length + 16);
  const own = `.bundle-${id}.journal`;
  await sweepJournals(store, own);
  return VolumeJournal.open(join(store, own), `sha256:${decided.digest('hex')}`);
}

const journalPattern = /^\.bundle-[0-9a-f]{16}\.journal(?:\.[0-9a-f]{8}\.partial)?$/;

/** Takes away what runs have noted that nobody went on with for long, on media that may be anywhere by now. */
async function sweepJournals(store: string, own: string, now = Date.now()): Promise<void> {
  for (const name of await readdir(store)) {
    if (name === own || !journalPattern.test(name)) continue;
    const path = join(store, name);
    const found = await stat(path).catch(() => undefined);
    // A store that cannot be written to keeps them.
    if (found && now - found.mtimeMs > abandonedMs) await rm(path, { force: true }).catch(() => {});
  }
}

/** What a file is, without reading it: what it is named after, or when it was written. */
async function identityOf({ source, start, size }: FileMember, store: string): Promise<unknown[]> {
  const { path, checksum } = source;
  return [path, start, size, source.size, checksum?.hex ?? (await stat(join(store, path))).mtimeMs];
}

/** Where finished volumes stand, by their names: in any of the directories, in their size. */
export async function volumesThere(
  directories: readonly string[],
  journal: VolumeJournal | undefined,
): Promise<Map<string, string>> {
  const there = new Map<string, string>();
  for (const { volume } of journal?.done ?? [])
    for (const directory of directories) {
      const found = await stat(join(directory, volume.name)).catch(() => undefined);
      if (found?.size === volume.size && !there.has(volume.name)) there.set(volume.name, directory);
    }
  return there;
}

/** Forgets what is not where it belongs. A file goes over from one volume to the next: what comes after one that is gone has to be written again as well. */
export async function forgetLacking(
  journal: VolumeJournal,
  plans: readonly VolumePlan[],
  isThere: (volume: string) => boolean,
): Promise<void> {
  const lacking = new Set<string>();
  for (const chain of chainsOf(plans)) {
    let isWhole = true;
    for (const { name } of chain) {
      isWhole &&= isThere(name);
      if (!isWhole) lacking.add(name);
    }
  }
  await journal.forget(lacking);
}

/**
 * Takes away what a broken run left and cannot be used; anything else that stands there is somebody's.
 * @param kept files that stay
 * @throws E_REFUSED
 */
export async function clearDirectory(directory: string, name: string, kept: ReadonlySet<string>): Promise<void> {
  const found = await readdir(directory);
  if (found.includes(bundleFiles.sums))
    throw new MirrorError('E_REFUSED', `\`${directory}\` holds a finished bundle already`, {
      hint: 'choose another `--out` or `--name`, or delete it first',
    });
  const ours = (file: string): boolean => {
    const plain = file.replace(/(?:\.[0-9a-f]{8})?\.partial$/, '');
    return (
      // What looks whether the place can be written to has no name but that.
      plain === '' ||
      Object.values<string>(bundleFiles).includes(plain) ||
      isNodeFile(plain) ||
      (plain.startsWith(`${name}.`) && /\.\d{4,}\.tar$/.test(plain))
    );
  };
  const foreign = found.find((file) => !ours(file));
  if (foreign !== undefined)
    throw new MirrorError('E_REFUSED', `\`${directory}\` holds \`${foreign}\`, which is not part of a bundle`, {
      hint: 'choose another `--out` or `--name`, or move it away',
    });
  for (const file of found) if (!kept.has(file)) await rm(join(directory, file), { recursive: true });
}
