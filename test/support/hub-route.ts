import type { RepoType } from './hub-repo.ts';

/** What a path of the hub asks for. `rest` is decoded; `revision` too. */
export interface HubRoute {
  action: 'info' | 'tree' | 'refs' | 'paths-info' | 'resolve' | 'resolve-cache' | 'xet-read-token';
  type: RepoType;
  id: string;
  revision: string;
  /** Folder or file. */
  rest: string;
}

const TYPES: Record<string, RepoType> = { models: 'model', datasets: 'dataset', spaces: 'space' };

/** Reads a raw path, in which a revision's slashes are `%2F`; undefined when it is none of the hub's. */
export function parseRoute(pathname: string): HubRoute | undefined {
  const segments = pathname.slice(1).split('/');
  try {
    return segments[0] === 'api' ? apiRoute(segments.slice(1)) : fileRoute(segments);
  } catch {
    return undefined;
  }
}

/** The path of a route: what a redirect to the repository's present name needs. */
export function formatRoute(route: HubRoute, id: string): string {
  const revision = encodeURIComponent(route.revision);
  const rest = route.rest.split('/').map(encodeURIComponent).join('/');
  const prefix = route.type === 'model' ? '' : `/${route.type}s`;
  if (route.action === 'resolve') return `${prefix}/${id}/resolve/${revision}/${rest}`;
  if (route.action === 'resolve-cache') return cachePath(route.type, id, revision, route.rest);
  const api = `/api/${route.type}s/${id}`;
  if (route.action === 'info') return route.revision === '' ? api : `${api}/revision/${revision}`;
  if (route.action === 'refs') return `${api}/refs`;
  return `${api}/${route.action}/${revision}${rest === '' ? '' : `/${rest}`}`;
}

/** Where the hub keeps a regular file; it escapes the slashes of the file's path. */
export function cachePath(type: RepoType, id: string, commit: string, path: string): string {
  return `/api/resolve-cache/${type}s/${id}/${commit}/${encodeURIComponent(path)}`;
}

function apiRoute(segments: string[]): HubRoute | undefined {
  if (segments[0] === 'resolve-cache') return cacheRoute(segments.slice(1));
  const type = typeOf(segments[0]);
  if (!type) return undefined;
  const [id, action, ...tail] = splitId(segments.slice(1), /^(?:revision|tree|refs|paths-info|xet-read-token)$/);
  if (!id || tail.includes('')) return undefined;
  const revision = decodeURIComponent(tail[0] ?? '');
  const rest = decodePath(tail.slice(1));
  if (action === undefined) return { action: 'info', type, id, revision: '', rest: '' };
  if (action === 'refs') return tail.length === 0 ? { action, type, id, revision, rest } : undefined;
  if (revision === '') return undefined;
  if (action === 'revision') return rest === '' ? { action: 'info', type, id, revision, rest } : undefined;
  if (action === 'xet-read-token') return rest === '' ? { action, type, id, revision, rest } : undefined;
  if (action === 'tree') return { action, type, id, revision, rest };
  return action === 'paths-info' && rest === '' ? { action, type, id, revision, rest } : undefined;
}

function cacheRoute(segments: string[]): HubRoute | undefined {
  const type = typeOf(segments[0]);
  const [id, revision, ...tail] = splitId(segments.slice(1), /^[0-9a-f]{40}$/);
  if (!type || !id || !revision || tail.length === 0) return undefined;
  return { action: 'resolve-cache', type, id, revision, rest: decodePath(tail) };
}

function fileRoute(segments: string[]): HubRoute | undefined {
  const prefixed = segments[0] === 'models' ? undefined : typeOf(segments[0]);
  const [id, action, revision, ...tail] = splitId(prefixed ? segments.slice(1) : segments, /^resolve$/);
  if (!id || action !== 'resolve' || !revision || tail.length === 0) return undefined;
  return {
    action,
    type: prefixed ?? 'model',
    id,
    revision: decodeURIComponent(revision),
    rest: decodePath(tail),
  };
}

/** Joins the one or two segments of an id; a canonical id is followed by an action at once. */
function splitId(segments: string[], action: RegExp): string[] {
  const length = segments.length === 1 || action.test(segments[1] ?? '') ? 1 : 2;
  return [segments.slice(0, length).join('/'), ...segments.slice(length)];
}

function decodePath(segments: string[]): string {
  return segments.map(decodeURIComponent).join('/');
}

function typeOf(segment = ''): RepoType | undefined {
  return Object.hasOwn(TYPES, segment) ? TYPES[segment] : undefined;
}
