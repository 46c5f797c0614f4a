import type { Reporter } from '../../core/events.ts';
import { ChainWriter } from './chain-writer.ts';
import type { BundleBlob, BundleLink, BundleVolume } from '../records/inventory.ts';
import type { VolumeJournal, VolumeRecord } from './journal.ts';
import { chainsOf, type VolumePlan } from './layout.ts';
import { PackedList } from '../lists/long-list.ts';
import { VolumeThread } from './volume-thread.ts';

export interface WrittenVolumes {
  blobs: PackedList<BundleBlob>;
  links: PackedList<BundleLink>;
  volumes: BundleVolume[];
}

export interface WriteOptions {
  report: Reporter;
  signal?: AbortSignal | undefined;
  /** What an earlier run of the same plan has finished is not written again. */
  journal?: VolumeJournal | undefined;
  /** How many volumes to write at a time: one, when not given. */
  atOnce?: number | undefined;
}

/**
 * Writes the planned volumes: each byte is read once, hashed for its file and for its volume, and
 * written once. A volume gets its final name when it is whole and on the medium.
 * @param root directory in which the planned files stand
 * @throws E_DIGEST_MISMATCH for a store that is damaged, E_NO_SPACE, E_MEDIUM for a medium that is gone or worn out
 */
export async function writeVolumes(
  pathOf: (volume: string) => string,
  plans: readonly VolumePlan[],
  root: string,
  { report, signal, journal, atOnce = 1 }: WriteOptions,
): Promise<WrittenVolumes> {
  const numbers = new Map(plans.map((plan, index) => [plan, index + 1]));
  const records = new Map(journal?.done.map((record) => [record.volume.name, record]));
  const onBytes = (bytes: number): void => report({ type: 'bytes', bytes });
  for (const plan of plans) if (records.has(plan.name)) onBytes(fileBytes(plan));
  const toDo = chainsOf(plans).filter((chain) => chain.some(({ name }) => !records.has(name)));
  const queue = toDo.values();
  const broken = new AbortController();
  const stop = signal ? AbortSignal.any([signal, broken.signal]) : broken.signal;
  const takeFrom = async (): Promise<void> => {
    await using thread = new VolumeThread(stop, onBytes);
    for (const chain of queue) {
      const writer = new ChainWriter(thread, { pathOf, root, numberOf: (plan) => numbers.get(plan) ?? 0, journal });
      for (const plan of chain) {
        const known = records.get(plan.name);
        if (known) writer.take(known);
        else records.set(plan.name, await writer.write(plan));
      }
    }
  };
  // The first error is the one that counts; what others say then is that they were stopped.
  let failed: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failed ??= { error };
    broken.abort();
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, toDo.length) }, async () => takeFrom().catch(fail)));
  if (failed) throw failed.error;
  return inOrder(plans, records);
}

function fileBytes({ members }: VolumePlan): number {
  return members.reduce((sum, member) => sum + (member.kind === 'file' ? member.size : 0), 0);
}

function inOrder(plans: readonly VolumePlan[], records: ReadonlyMap<string, VolumeRecord>): WrittenVolumes {
  const written: WrittenVolumes = { blobs: new PackedList(), links: new PackedList(), volumes: [] };
  for (const { name } of plans) {
    const record = records.get(name);
    if (!record) continue;
    written.volumes.push(record.volume);
    written.blobs.append(record.blobs);
    written.links.append(record.links);
  }
  return written;
}
