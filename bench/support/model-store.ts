import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { seededBytes } from '../../test/support/seeded-bytes.ts';
import { writeSeededBlob } from './seeded-file.ts';

export interface ModelSpec {
  large: number;
  largeBytes: number;
  small: number;
  smallBytes: number;
}

export interface StoredModel {
  store: string;
  /** All files of the model by their own names, as links. */
  snapshot: string;
  bytes: number;
}

const commit = 'c0ffee'.padEnd(40, '0');
const folder = 'models--bench--model';

/** A store with one model in it, as `sie-mirror snapshot` leaves it. */
export async function writeModelStore(store: string, spec: ModelSpec): Promise<StoredModel> {
  const repo = join(store, 'hub', folder);
  const files: Record<string, Record<string, string | number>> = {};
  for (let index = 1; index <= spec.large; index += 1) {
    const path = `model-${String(index).padStart(5, '0')}.safetensors`;
    const hex = await writeSeededBlob(join(repo, 'blobs'), `large ${index}`, spec.largeBytes);
    await link(repo, path, hex);
    files[path] = {
      size: spec.largeBytes,
      blob_id: gitSha1(Buffer.from(hex)),
      lfs_sha256: hex,
      lfs_size: spec.largeBytes,
    };
  }
  for (let index = 1; index <= spec.small; index += 1) {
    const path = `extra/${index % 10}/part-${String(index).padStart(5, '0')}.bin`;
    const bytes = seededBytes(`small ${index}`, spec.smallBytes);
    const hex = gitSha1(bytes);
    await mkdir(join(repo, 'blobs'), { recursive: true });
    await writeFile(join(repo, 'blobs', hex), bytes);
    await link(repo, path, hex);
    files[path] = { size: bytes.length, blob_id: hex };
  }
  await put(join(repo, 'trees', `${commit}.json`), JSON.stringify({ format_version: 1, files }));
  await put(join(repo, 'refs/main'), commit);
  const bytes = spec.large * spec.largeBytes + spec.small * spec.smallBytes;
  return { store, snapshot: join(repo, 'snapshots', commit), bytes };
}

async function link(repo: string, path: string, blob: string): Promise<void> {
  const full = join(repo, 'snapshots', commit, path);
  await mkdir(dirname(full), { recursive: true });
  await symlink(posix.relative(posix.dirname(posix.join('snapshots', commit, path)), `blobs/${blob}`), full);
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

function gitSha1(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}
