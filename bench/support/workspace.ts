import { access, constants, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const gibi = 1024 ** 3;
/** What the largest case takes at full size, with room. */
const neededBytes = 12 * gibi;
const tmpfsType = 0x01021994;

/** A directory for everything that the bench writes. */
export interface Workspace {
  directory: string;
  /** For the output: what kind of place it is. */
  kind: string;
  remove: () => Promise<void>;
}

/** Memory-backed where that can be had, so that no disk's mood is measured. @throws when there is too little room */
export async function openWorkspace(scale: number): Promise<Workspace> {
  const shared = '/dev/shm';
  const parent = (await isWritable(shared)) ? shared : tmpdir();
  const { type, bavail, bsize } = await statfs(parent);
  if (bavail * bsize < neededBytes * scale) {
    const free = ((bavail * bsize) / gibi).toFixed(1);
    throw new Error(
      `${free} GiB are free for the bench, ${(neededBytes * scale) / gibi} are needed: try \`--scale 0.1\``,
    );
  }
  const directory = await mkdtemp(join(parent, 'sie-mirror-bench-'));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  return { directory, kind: type === tmpfsType ? 'tmpfs' : 'the temporary directory, which is not tmpfs', remove };
}

/** What `work` comes to in a directory on the disk of this checkout, which is removed then. */
export async function onDisk<Result>(work: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = await mkdtemp(join(process.cwd(), '.bench-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}
