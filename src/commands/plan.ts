import { readFile } from 'node:fs/promises';
import { totalSize } from '../core/descriptor.ts';
import { MirrorError } from '../core/errors.ts';
import { makeReport, type Report, type ReportItem } from '../core/report.ts';
import { formatBytes, plural } from '../core/text.ts';
import { namePath, writeFileAtomic } from '../fs/atomic.ts';
import type { DenyRule } from '../hub/safety/policy.ts';
import { parseRepo, type RepoRequest } from '../hub/repo.ts';
import { loadManifest } from '../manifest/load.ts';
import { placementOf, refuseCollisions } from '../manifest/placement.ts';
import {
  type Lock,
  type LockedImage,
  type LockedModel,
  lockSchemaId,
  type MirrorManifest,
} from '../manifest/schema.ts';
import { descriptorsOf, readImage } from '../oci/graph.ts';
import { parseReference } from '../oci/reference.ts';
import { attempt } from './attempt.ts';
import type { Context } from './context.ts';
import { openSource } from './places/endpoint.ts';
import { lockedFile, refuseFileCollisions, sizeFiles } from './store/files.ts';
import { planModels } from './store/models.ts';
import { judgePlans } from './store/safety.ts';
import { formatLock } from './store/store-lock.ts';

export interface PlanOptions {
  manifest: string;
  /** Where the lock goes. */
  out: string;
  /** What must not come; no lock is written when a model has some. */
  deny?: readonly DenyRule[] | undefined;
}

/**
 * Everything that a mirror manifest names, pinned; fetches no content. What cannot be resolved is a failed item.
 * @throws E_USAGE for a lock, E_NOT_FOUND, E_MANIFEST
 */
export async function plan(options: PlanOptions, context: Context): Promise<Report> {
  const loaded = await loadFile(options.manifest, context);
  if (loaded.kind === 'lock')
    throw new MirrorError('E_USAGE', `\`${options.manifest}\` is a lock already`, {
      hint: `fetch it with \`sie-mirror pull ${options.manifest}\``,
    });
  const items: ReportItem[] = [];
  const lock = await resolveManifest(loaded.manifest, items, context);
  await judgePlans(context.hub(), lock.models, options.deny ?? [], items, context);
  const bytes = lockBytes(lock);
  const complete = items.every(({ state }) => state !== 'failed');
  if (complete) await writeFileAtomic(context.path(options.out), formatLock(lock));
  const summary = items
    .filter(({ state }) => state !== 'failed')
    .map(
      ({ name, bytes: size = 0, detail }) =>
        `${name}  ${formatBytes(size)}${typeof detail?.['license'] === 'string' ? `  licence ${detail['license']}` : ''}`,
    );
  summary.push(
    complete
      ? `${plural(lock.models.length, 'model')}, ${plural(lock.images.length, 'image')}, ${plural(lock.files.length, 'file')}: ${formatBytes(bytes)} to fetch, as much again on the medium; fetch it with \`sie-mirror pull ${options.out}\``
      : 'no lock was written, because not everything could be resolved, or may come',
  );
  return makeReport('plan', items, { models: lock.models.length, images: lock.images.length, bytes }, summary);
}

/** @throws E_NOT_FOUND, E_MANIFEST */
export async function loadFile(path: string, context: Context): ReturnType<typeof loadManifest> {
  const text = await readFile(context.path(path), 'utf8').catch((error: unknown) => {
    throw namePath(error, path);
  });
  return loadManifest(text, path);
}

/** What all that a lock names takes, where its size is known. */
export function lockBytes(lock: Lock): number {
  const models = totalSize(lock.models.flatMap(({ files, notices = [] }) => [...files, ...notices]));
  const files = lock.files.reduce((sum, { size = 0 }) => sum + size, 0);
  return lock.images.reduce((sum, { bytes }) => sum + bytes, models + files);
}

/** Manifest to lock; what cannot be resolved becomes a failed item. @throws E_MANIFEST for collisions */
export async function resolveManifest(manifest: MirrorManifest, items: ReportItem[], context: Context): Promise<Lock> {
  // What is misspelt is said before anything is asked of a server.
  const requests = manifest.models.map(({ repo, revision, type, filter, include, exclude, companions }) => ({
    ...parseRepo(revision === undefined ? repo : `${repo}@${revision}`, type),
    filter: { preset: filter, include, exclude },
    companions,
  }));
  refuseDoubles(requests);
  const files = manifest.files.map(lockedFile);
  refuseFileCollisions(files);
  for (const { ref } of manifest.images) parseReference(ref);
  const lock: Lock = { schema: lockSchemaId, name: manifest.metadata.name, models: [], images: [], files: [] };
  const { models } = await planModels(requests, items, context);
  for (const { plan } of models) {
    lock.models.push(plan);
    items.push(modelItem(plan));
  }
  for (const image of manifest.images) {
    context.report({ type: 'stage', text: `resolving ${image.ref}` });
    await attempt(items, 'image', image.ref, async () => {
      const found = await lockImage(image, manifest, context);
      lock.images.push(found);
      items.push({
        kind: 'image',
        name: found.reference,
        state: 'done',
        digest: found.root.digest,
        bytes: found.bytes,
        detail: { to: found.to },
      });
    });
  }
  lock.files = await sizeFiles(files, items, context);
  refuseCollisions(
    lock.images.map(({ reference, to, root }) => ({
      reference,
      to,
      tag: parseReference(reference).tag ?? root.digest,
      digest: root.digest,
    })),
  );
  return lock;
}

/** What of a repo is wanted can be said once only. @throws E_MANIFEST */
function refuseDoubles(requests: readonly RepoRequest[]): void {
  const seen = new Set<string>();
  for (const { type, repo, revision } of requests) {
    const name = `${type} \`${repo}@${revision}\``;
    if (seen.has(name))
      throw new MirrorError('E_MANIFEST', `the ${name} is named twice`, {
        hint: 'put what is wanted of it into one entry',
      });
    seen.add(name);
  }
}

function modelItem(plan: LockedModel): ReportItem {
  const { type, repo, commit, files, notices = [], gated, license, filter, namedBy } = plan;
  return {
    kind: type,
    name: `${repo}@${commit}`,
    state: 'done',
    bytes: totalSize([...files, ...notices]),
    detail: {
      files: files.length,
      gated,
      ...(license === undefined ? {} : { license }),
      ...(filter ? { filter } : {}),
      ...(namedBy ? { namedBy } : {}),
    },
  };
}

async function lockImage(
  image: { ref: string; to?: string | undefined },
  manifest: MirrorManifest,
  context: Context,
): Promise<LockedImage> {
  const from = await openSource(context, image.ref);
  const { registry, repository } = parseReference(image.ref);
  const root = await from.source.resolve(from.wanted);
  const graph = await readImage(from.source, root, { slots: context.slots, referrers: true, signal: context.signal });
  const bytes = totalSize(descriptorsOf(graph));
  const to = placementOf(`${registry}/${repository}`, image.to, manifest.rewrite);
  checkPlacement(to, image.ref);
  return { reference: from.name, root, bytes, to };
}

/** Said here, where it can be mended, and not in the zone. @throws E_MANIFEST */
function checkPlacement(to: string, image: string): void {
  try {
    parseReference(`registry.zone/${to}:tag`);
  } catch (error) {
    throw new MirrorError(
      'E_MANIFEST',
      `\`${image}\` would be imported as \`${to}\`, which no registry takes as a repository`,
      {
        hint: 'use lower-case letters and digits, with `.`, `_`, `-` between them, and `/`',
        cause: error,
      },
    );
  }
}
