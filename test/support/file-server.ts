import { sendBytes, type ServerOptions, TestServer } from './server.ts';

/** Switches of a plain file server. */
export interface FileServerOptions extends ServerOptions {
  /** Answers HEAD with 405, as some do. */
  noHead?: boolean;
  /** Does not say how many bytes a file has, as servers that make archives do. */
  noLength?: boolean;
}

/** A server of single files by path; `files` may change while it runs. */
export async function startFileServer(
  files: Record<string, string | Uint8Array>,
  options: FileServerOptions = {},
): Promise<TestServer> {
  return TestServer.start((request, response, url) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return false;
    const content = files[url.pathname];
    if (content === undefined || (request.method === 'HEAD' && options.noHead)) {
      response.writeHead(content === undefined ? 404 : 405).end();
      return true;
    }
    if (options.noLength) {
      response.writeHead(200);
      response.flushHeaders();
      response.end(request.method === 'GET' ? content : undefined);
      return true;
    }
    return sendBytes(request, response, Buffer.from(content), { 'content-type': 'application/octet-stream' });
  }, options);
}
