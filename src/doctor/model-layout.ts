import { totalSize } from '../core/descriptor.ts';
import { formatBytes, inBackticks, plural } from '../core/text.ts';
import type { FaultId } from './faults.ts';
import { faultAt, type Finding, ok, warningAt } from './finding.ts';
import { importModels, restartWorkers, steps } from './names.ts';
import { type StoreCommands, storeCommands } from './shell.ts';

/** What lies below one `models--ORG--NAME` in a store. */
export interface SeenModel {
  /** `models--ORG--NAME` */
  folder: string;
  /** Paths below the folder. */
  objects: { path: string; size: number }[];
  /** Content by path, of `refs/*` and `trees/*.json`; undefined for one that could not be read. */
  texts: ReadonlyMap<string, string | undefined>;
}

/** Clients of the Hub fetch no more than this by plain HTTP: MAX_HTTP_DOWNLOAD_SIZE of huggingface_hub's constants.py. */
const plainHttpLimit = 50 * 1000 ** 3;

/** `ORG/NAME` of a folder. */
export function repoOfFolder(folder: string): string {
  return folder.replace(/^models--/, '').replaceAll('--', '/');
}

/**
 * The layout that SIE's workers read, and what is known to break or to slow them.
 * @param store as people name it: `s3://BUCKET/PREFIX`
 */
export function layoutFindings(model: SeenModel, store: string): Finding[] {
  const look = new LayoutLook(model, store);
  const found = [
    ...look.markers(),
    ...look.ref(),
    ...look.trees(),
    ...look.surplus(),
    ...look.snapshotCount(),
    ...look.largeFiles(),
  ];
  if (found.length > 0) return found;
  const bytes = totalSize(model.objects);
  return [
    ok(
      'bucket',
      model.folder,
      `${plural(model.objects.length, 'object')}, ${formatBytes(bytes)}, laid out as workers read it`,
    ),
  ];
}

/** Workers have downloaded what was wrong. */
const afresh = `then, as workers keep what they have: ${restartWorkers}`;

class LayoutLook {
  readonly #model: SeenModel;
  readonly #commands: StoreCommands;
  /** Paths of each snapshot, by commit. */
  readonly #snapshots = new Map<string, string[]>();

  constructor(model: SeenModel, store: string) {
    this.#model = model;
    this.#commands = storeCommands(store);
    for (const { path } of model.objects) {
      const [, commit, file] = /^snapshots\/([^/]+)\/(.*[^/])$/.exec(path) ?? [];
      if (commit === undefined || file === undefined) continue;
      this.#snapshots.set(commit, [...(this.#snapshots.get(commit) ?? []), file]);
    }
  }

  markers(): Finding[] {
    const { folder } = this.#model;
    const markers = this.#model.objects.filter(({ path }) => isMarker(path));
    return markers.map(({ path }) =>
      this.#fault(
        'marker-key',
        `there is an object \`${folder}/${path}\`: a folder marker, as consoles and \`rclone --s3-directory-markers\` make`,
        steps(this.#commands.remove(`${folder}/${path}`), afresh),
      ),
    );
  }

  ref(): Finding[] {
    const { folder, texts } = this.#model;
    const key = `${folder}/refs/main`;
    const commits = [...this.#snapshots.keys()];
    const mend = this.#mendRef(key, commits);
    if (commits.length === 0)
      return [this.#fault('model-incomplete', `\`${folder}/snapshots/\` has no file`, steps(importModels, afresh))];
    if (!this.#model.objects.some(({ path }) => path === 'refs/main'))
      return [
        this.#fault('ref-missing', `\`${key}\` does not exist, as after \`hf download --revision COMMIT\``, mend),
      ];
    const text = texts.get('refs/main');
    if (text === undefined) return [];
    if (/^[0-9a-f]{40}\s+$/.test(text))
      return [
        this.#fault(
          'ref-newline',
          `\`${key}\` has ${Buffer.byteLength(text)} bytes, 40 are wanted: readers do not strip the line break`,
          steps(this.#commands.write(key, text.trim()), afresh),
        ),
      ];
    if (!/^[0-9a-f]{40}$/.test(text))
      return [
        this.#fault(
          'ref-wrong',
          `\`${key}\` is \`${text.slice(0, 60)}\` (${plural(Buffer.byteLength(text), 'byte')}), 40 hex digits are wanted`,
          mend,
        ),
      ];
    if (this.#snapshots.has(text)) return [];
    return [
      this.#fault(
        'ref-dangling',
        `\`${key}\` says \`${text}\`, and there is only \`snapshots/${commits.join('`, `snapshots/')}\``,
        mend,
      ),
    ];
  }

  trees(): Finding[] {
    const { folder, texts } = this.#model;
    return [...this.#snapshots].flatMap(([commit, files]) => {
      const path = `trees/${commit}.json`;
      const again = steps(importModels, afresh);
      if (!this.#model.objects.some((object) => object.path === path))
        return [
          this.#warning(
            'tree-missing',
            `\`${folder}/${path}\` does not exist: huggingface_hub 1.26 to 2.1 finds no pinned snapshot offline without it`,
            importModels,
          ),
        ];
      const text = texts.get(path);
      if (text === undefined) return [];
      const listed = filesOfTree(text);
      if (listed === undefined) return [this.#fault('tree-wrong', `\`${folder}/${path}\` is no list of files`, again)];
      const lacking = listed.filter((file) => !files.includes(file));
      const extra = files.filter((file) => !listed.includes(file));
      if (lacking.length === 0 && extra.length === 0) return [];
      const said = [
        ...(lacking.length > 0
          ? [`lists \`${lacking.slice(0, 3).join('`, `')}\`, which ${lacking.length === 1 ? 'is' : 'are'} not there`]
          : []),
        ...(extra.length > 0 ? [`does not list \`${extra.slice(0, 3).join('`, `')}\``] : []),
      ];
      const evidence = `\`${folder}/${path}\` ${said.join(', and ')}`;
      // One that is not listed is read by name all the same; one that is listed and missing is an IncompleteSnapshotError.
      return [
        lacking.length > 0 ? this.#fault('tree-wrong', evidence, again) : this.#warning('tree-wrong', evidence, again),
      ];
    });
  }

  surplus(): Finding[] {
    const { folder, objects } = this.#model;
    const found: Finding[] = [];
    const blobs = objects.filter(({ path }) => path.startsWith('blobs/') && !isMarker(path));
    if (blobs.length > 0) {
      const bytes = formatBytes(totalSize(blobs));
      found.push(
        this.#warning(
          'blobs-doubled',
          `${plural(blobs.length, 'object')} (${bytes}) below \`${folder}/blobs/\`, as \`aws s3 sync\` of a cache leaves them: a worker downloads all of them too`,
          this.#commands.removeBelow(`${folder}/blobs/`),
        ),
      );
    }
    const local = objects.filter(({ path }) => isCacheState(path));
    const [first] = local;
    if (first)
      found.push(
        this.#warning(
          'leftovers',
          `${plural(local.length, 'object')} like \`${folder}/${first.path}\``,
          steps(...new Set(local.map(({ path }) => this.#removeLeftover(path)))),
        ),
      );
    return found;
  }

  #removeLeftover(path: string): string {
    const { folder } = this.#model;
    const [top = ''] = path.split('/');
    return top.startsWith('.')
      ? this.#commands.removeBelow(`${folder}/${top}/`)
      : this.#commands.remove(`${folder}/${path}`);
  }

  #fault(fault: FaultId, evidence: string, fix: string): Finding {
    return faultAt('bucket', this.#model.folder, fault, evidence, fix);
  }

  #warning(fault: FaultId, evidence: string, fix: string): Finding {
    return warningAt('bucket', this.#model.folder, fault, evidence, fix);
  }

  /** With two snapshots and no word which of them is meant, the bundle knows. */
  #mendRef(key: string, commits: readonly string[]): string {
    const [only] = commits;
    return steps(commits.length === 1 && only !== undefined ? this.#commands.write(key, only) : importModels, afresh);
  }

  snapshotCount(): Finding[] {
    const { folder, texts } = this.#model;
    const commits = [...this.#snapshots.keys()];
    if (commits.length < 2) return [];
    const old = commits.filter((commit) => commit !== texts.get('refs/main'));
    return [
      this.#warning(
        'snapshots-many',
        `\`${folder}\` has ${commits.length} snapshots: ${inBackticks(commits)}`,
        steps(
          'when the workers have been started again since the newer one was imported, the others go:',
          ...old.map((commit) => this.#commands.removeBelow(`${folder}/snapshots/${commit}/`)),
          ...old.map((commit) => this.#commands.remove(`${folder}/trees/${commit}.json`)),
        ),
      ),
    ];
  }

  largeFiles(): Finding[] {
    const { folder, objects } = this.#model;
    return objects
      .filter(({ size }) => size > plainHttpLimit)
      .map(({ path, size }) =>
        this.#warning(
          'file-too-large',
          `\`${folder}/${path}\` has ${formatBytes(size)}: huggingface_hub refuses more than 50 GB by plain HTTP`,
          'let workers read it from the bucket (`workers.common.clusterCache.url`), not through HF_ENDPOINT',
        ),
      );
  }
}

/** A key that stands for a folder: SIE's reader takes it for a file, and dies. @param path below the model's folder */
export function isMarker(path: string): boolean {
  return path === '' || path.endsWith('/');
}

/** What a cache keeps for itself, and no reader wants. @param path below the model's folder */
export function isCacheState(path: string): boolean {
  return /^\.no_exist\/|^\.locks\/|\.incomplete$|\.partial$|\.lock$/.test(path);
}

/** The paths that a `trees/COMMIT.json` lists; undefined when it is none. */
export function filesOfTree(text: string): string[] | undefined {
  try {
    const { files } = JSON.parse(text) as { files?: unknown };
    return typeof files === 'object' && files !== null ? Object.keys(files) : undefined;
  } catch {
    return undefined;
  }
}
