import { join } from 'node:path';
import { sha256 } from '../../core/digest.ts';
import { MirrorError } from '../../core/errors.ts';
import { forEachLimited } from '../../core/limit.ts';
import type { Content } from '../../core/ports.ts';
import { readAll } from '../../core/stream.ts';
import { printable } from '../../core/text.ts';
import * as z from '../../core/zod.ts';
import { fileContent } from '../../fs/read.ts';
import { rangesOf } from './byte-ranges.ts';
import { repoFolder } from '../snapshot/cache.ts';
import type { RepoFile } from '../repo.ts';
import { fileSafetySchema, inspectFile } from './file-safety.ts';
import { severitySchema } from './findings.ts';
import { isLicenceFile, licenceSchema, licenceState } from './licence.ts';
import {
  type CodeReference,
  isCodeConfig,
  isCodeFile,
  referencesIn,
  referredFiles,
  type RemoteCode,
  remoteCodeSchema,
} from './remote-code.ts';
import { noticePath } from '../places.ts';
import { Seen } from '../snapshot/seen.ts';
import { isShardIndex, missingShards } from './shards.ts';
import type { SnapshotPlan } from '../snapshot/snapshot-plan.ts';

const safetySchemaId = 'sie-mirror/safety/v1';

/** What is known of the safety of a repo at one commit; the same bytes give the same report. */
export const safetySchema = z.strictObject({
  schema: z.literal(safetySchemaId),
  repo: z.string(),
  canonical: z.string(),
  commit: z.string(),
  gated: z.boolean(),
  licence: licenceSchema,
  /** The worst that was found in any file; `clean` when that is no more than worth knowing. */
  verdict: z.enum(['broken', 'danger', 'warning', 'clean']),
  files: z.array(fileSafetySchema),
  remoteCode: remoteCodeSchema,
});

export type SafetyReport = z.infer<typeof safetySchema>;

/** Headers are read side by side, by few: a large one may take a hundred megabytes. */
const filesAtOnce = 4;

/** Code and licences are read whole; of larger code the hash is all that is told. */
const maxText = 16 * 1024 * 1024;
/** Larger configurations are not looked through, which is said of them. */
const maxConfig = 4 * 1024 * 1024;

/** The bytes of a file of a plan, from wherever they are. */
export type FileOpener = (file: RepoFile) => Content;

/** The files of a snapshot in the store. */
export function storedFiles(store: string, plan: SnapshotPlan): FileOpener {
  const directory = join(store, 'hub', repoFolder(plan.repo, plan.type), 'snapshots', plan.commit);
  return ({ path, size }) => fileContent([{ path: join(directory, path), offset: 0, size }]);
}

/** The licences and model cards that a filter keeps beside the snapshot. */
export function storedNotices(store: string, plan: SnapshotPlan): FileOpener {
  return (file) => fileContent([{ path: noticePath(store, plan, file), offset: 0, size: file.size }]);
}

/** Where the report of a snapshot stands in the store. */
export function safetyFile({ repo, type, commit }: Pick<SnapshotPlan, 'repo' | 'type' | 'commit'>): string {
  return safetyReport(repoFolder(repo, type), commit);
}

/** The same by the name of the repo's folder in the cache. */
export function safetyReport(folder: string, commit: string): string {
  return `safety/${folder}@${commit}.json`;
}

/**
 * Looks into every file of a snapshot; reads headers, directories, pickles and code, never the numbers of tensors.
 * @param openNotice reads what is kept beside the snapshot: a licence there is a licence
 */
export async function inspectSnapshot(
  plan: SnapshotPlan,
  open: FileOpener,
  openNotice: FileOpener,
  signal?: AbortSignal,
): Promise<SafetyReport> {
  const inspected = new Map<string, SafetyReport['files'][number]>();
  await forEachLimited(plan.files, filesAtOnce, async (file) => {
    signal?.throwIfAborted();
    inspected.set(file.path, await inspectFile(file.path, rangesOf(open(file), signal)));
  });
  await lookForShards(plan.files, inspected, open, signal);
  const files = sortedByPath([...inspected.values()]);
  const notices = plan.notices ?? [];
  const licenceFiles = [
    ...(await licencesAmong(plan.files, open, signal)),
    ...(await licencesAmong(notices, openNotice, signal)),
  ];
  const id = plan.license === undefined ? {} : { id: printable(plan.license) };
  return {
    schema: safetySchemaId,
    repo: plan.repo,
    canonical: plan.canonical,
    commit: plan.commit,
    gated: plan.gated,
    licence: {
      state: licenceState(
        plan.license,
        [...plan.files, ...notices].map(({ path }) => path),
      ),
      ...id,
      files: sortedByPath(licenceFiles),
    },
    verdict: verdictOf(files),
    files,
    remoteCode: await inspectCode(plan.files, open, signal),
  };
}

/** A model of which a part was left out, or was never put there, is noticed before it is carried. */
async function lookForShards(
  files: readonly RepoFile[],
  inspected: ReadonlyMap<string, SafetyReport['files'][number]>,
  open: FileOpener,
  signal?: AbortSignal,
): Promise<void> {
  const paths = new Set(files.map(({ path }) => path));
  for (const file of files.filter(({ path, size }) => isShardIndex(path) && size <= maxText)) {
    const missing = missingShards(file.path, (await readFile(file, open, signal)).toString('utf8'), paths);
    if (missing.length === 0) continue;
    const message = printable(`names ${missing.length} of its shards that are not there, e.g. \`${missing[0] ?? ''}\``);
    inspected.get(file.path)?.findings.push({ severity: 'warning', code: 'missing-shard', message });
  }
}

async function licencesAmong(
  files: readonly RepoFile[],
  open: FileOpener,
  signal?: AbortSignal,
): Promise<{ path: string; sha256: string }[]> {
  const found: { path: string; sha256: string }[] = [];
  for (const file of files.filter(({ path, size }) => isLicenceFile(path) && size <= maxText))
    found.push({ path: file.path, sha256: digestHexOf(await readFile(file, open, signal)) });
  return found;
}

/** Python files with what leads to them, and what leads to code of other repos. */
export async function inspectCode(
  files: readonly RepoFile[],
  open: FileOpener,
  signal?: AbortSignal,
): Promise<RemoteCode> {
  const references: CodeReference[] = [];
  const unread: string[] = [];
  const code = new Map<string, string>();
  const digests: { path: string; sha256: string }[] = [];
  await forEachLimited(files, filesAtOnce, async (file) => {
    if (isCodeConfig(file.path) && file.size > maxConfig) unread.push(file.path);
    else if (isCodeConfig(file.path))
      references.push(...referencesIn(file.path, (await readFile(file, open, signal)).toString('utf8')));
    if (!isCodeFile(file.path)) return;
    const isLarge = file.size > maxText;
    const bytes = isLarge ? Buffer.alloc(0) : await readFile(file, open, signal);
    code.set(file.path, bytes.toString('utf8'));
    digests.push({ path: file.path, sha256: isLarge ? await hashOf(file, open, signal) : digestHexOf(bytes) });
  });
  const referred = referredFiles(references, code);
  return {
    files: sortedByPath(digests).map((file) => ({ ...file, isReferred: referred.has(file.path) })),
    references: references.sort((a, b) => (a.file + a.key < b.file + b.key ? -1 : 1)),
    ...(unread.length > 0 ? { unread: unread.sort() } : {}),
  };
}

async function hashOf(file: RepoFile, open: FileOpener, signal?: AbortSignal): Promise<string> {
  if (file.checksum.algorithm === 'sha256') return file.checksum.hex;
  const seen = new Seen();
  for await (const chunk of open(file).open(0, signal)) seen.update(chunk);
  return seen.sha256(file.size) ?? '';
}

/** @throws E_CORRUPT naming a file that cannot be a model's, though its bytes are what the hub declares */
export function refuseStandIns({ repo, files }: Pick<SafetyReport, 'repo' | 'files'>): void {
  for (const { path, findings } of files) {
    const finding = findings.find(({ code }) => code === 'lfs-pointer' || code === 'html-page');
    if (finding)
      throw new MirrorError('E_CORRUPT', `\`${printable(path)}\` of \`${repo}\` ${finding.message}`, {
        hint: 'tell the owner of the repo, or choose another revision: the hub itself has no better bytes',
        at: { side: 'source', item: `${repo}/${printable(path)}` },
      });
  }
}

function verdictOf(files: SafetyReport['files']): SafetyReport['verdict'] {
  const found = new Set(files.flatMap(({ findings }) => findings.map(({ severity }) => severity)));
  const worst = severitySchema.options.find((severity) => found.has(severity));
  return worst === undefined || worst === 'note' ? 'clean' : worst;
}

async function readFile(file: RepoFile, open: FileOpener, signal?: AbortSignal): Promise<Buffer> {
  return readAll(open(file).open(0, signal), Math.max(file.size, 1), file.path);
}

function digestHexOf(bytes: Buffer): string {
  return sha256(bytes).slice('sha256:'.length);
}

function sortedByPath<T extends { path: string }>(items: T[]): T[] {
  return items.sort((a, b) => (a.path < b.path ? -1 : 1));
}
