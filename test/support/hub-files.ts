import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { sendText } from './hub-access.ts';
import type { HubCdn } from './hub-cdn.ts';
import type { HubCommit, HubFile, HubRepo } from './hub-repo.ts';
import { cachePath } from './hub-route.ts';
import type { HubXet } from './hub-xet.ts';
import { sendBytes, sendJson } from './server.ts';

/** Switches of the file routes. */
export interface FileOptions {
  /** Regular files come with 200 at once, as they did before resolve-cache. */
  direct?: boolean;
  /** Compresses text from 1000 bytes on for clients that take gzip; default true, as the real one does. */
  gzip?: boolean;
}

/** What an answer to a file request needs. */
export interface FileRequest {
  request: IncomingMessage;
  response: ServerResponse;
  repo: HubRepo;
  commit: HubCommit;
  file: HubFile;
}

/** The hosts that LFS files come from, and the hub's own address. */
export interface FileHosts {
  cdn: HubCdn;
  xet: HubXet;
  url: string;
}

/** `/{id}/resolve/{rev}/{path}`: LFS files redirect to another host, regular files within this one. */
export function sendResolve(asked: FileRequest, hosts: FileHosts, options: FileOptions): true {
  if (asked.file.lfs) return redirectToCdn(asked, hosts);
  if (options.direct) return sendRegular(asked, options);
  const { repo, commit, file, request } = asked;
  const query = `${encodeURIComponent((request.url ?? '').split('?')[0] ?? '')}=&etag=%22${file.oid}%22`;
  const location = `${cachePath(repo.type, repo.id, commit.id, file.path)}?${query}`;
  return redirect(asked.response, 307, location, linkedHeaders(asked, file.oid));
}

/** `/api/resolve-cache/…`, and `resolve` of old: the bytes of a regular file. */
export function sendRegular(asked: FileRequest, options: FileOptions): true {
  const { request, response, commit, file } = asked;
  const headers: Record<string, string> = {
    'content-type': 'text/plain; charset=utf-8',
    'content-disposition': `inline; filename*=UTF-8''${encodeURIComponent(file.path.split('/').at(-1) ?? '')};`,
    etag: `"${file.oid}"`,
    'x-repo-commit': commit.id,
    'accept-ranges': 'bytes',
    vary: 'Origin, Accept-Encoding',
  };
  if (!isCompressed(request, file, options)) return sendBytes(request, response, file.bytes, headers);
  response.writeHead(200, { ...headers, etag: `W/"${file.oid}"`, 'content-encoding': 'gzip' });
  response.end(request.method === 'HEAD' ? undefined : gzipSync(file.bytes));
  return true;
}

/** A redirect with the short text that the hub puts below it. */
export function redirect(
  response: ServerResponse,
  status: 302 | 307,
  location: string,
  headers: Record<string, string> = {},
): true {
  const reason = status === 302 ? 'Found' : 'Temporary Redirect';
  return sendText(response, status, `${reason}. Redirecting to ${location}`, { location, ...headers });
}

function redirectToCdn(asked: FileRequest, { cdn, xet, url }: FileHosts): true {
  const { request, response, repo, commit, file } = asked;
  const headers = linkedHeaders(asked, file.lfs?.oid ?? file.oid);
  if (file.xetHash) {
    const api = `${url}/api/${repo.type}s/${repo.id}/xet-read-token/${commit.id}`;
    const reconstruction = xet.keep(file);
    headers['x-xet-hash'] = file.xetHash;
    headers['link'] = `<${api}>; rel="xet-auth", <${reconstruction}>; rel="xet-reconstruction-info"`;
    if (request.headers.accept?.includes('application/vnd.xet-fileinfo+json')) {
      const info = { hash: file.xetHash, refreshUrl: api, reconstructionUrl: reconstruction, size: file.bytes.length };
      return sendJson(response, 200, info, { ...headers, 'content-type': 'application/vnd.xet-fileinfo+json' });
    }
  }
  return redirect(response, 302, cdn.sign(repo, file, request.method ?? 'GET'), headers);
}

function linkedHeaders({ commit, file }: FileRequest, etag: string): Record<string, string> {
  return {
    'x-repo-commit': commit.id,
    'x-linked-size': String(file.bytes.length),
    'x-linked-etag': `"${etag}"`,
    'accept-ranges': 'bytes',
  };
}

function isCompressed(request: IncomingMessage, file: HubFile, options: FileOptions): boolean {
  const accepted = request.headers['accept-encoding'] ?? '';
  const isWanted = /\bgzip\b/.test(accepted) && request.headers.range === undefined;
  return isWanted && options.gzip !== false && file.bytes.length >= 1000;
}
