import type { BuiltImage } from '../support/images.ts';

/** Pushes a built image with nothing but the platform's fetch: what tests copy must not have come through our own client. */
export async function pushImage(
  registry: string,
  repository: string,
  image: BuiltImage,
  tag?: string,
  authorization?: string,
): Promise<void> {
  const base = `http://${registry}/v2/${repository}`;
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
  for (const [digest, bytes] of image.blobs) {
    const opened = await expectStatus(fetch(`${base}/blobs/uploads/`, { method: 'POST', headers }), 202);
    const location = new URL(opened.headers.get('location') ?? '', opened.url).href;
    const url = `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
    await expectStatus(
      fetch(url, {
        method: 'PUT',
        headers: { ...headers, 'content-type': 'application/octet-stream' },
        body: Buffer.from(bytes),
      }),
      201,
    );
  }
  for (const [digest, { mediaType, bytes }] of image.manifests)
    await putManifest(`${base}/manifests/${digest}`, mediaType, bytes, headers);
  if (tag !== undefined) await putManifest(`${base}/manifests/${tag}`, image.mediaType, image.bytes, headers);
}

export async function putManifest(
  url: string,
  mediaType: string,
  bytes: Uint8Array,
  headers: Record<string, string> = {},
): Promise<void> {
  await expectStatus(
    fetch(url, { method: 'PUT', headers: { ...headers, 'content-type': mediaType }, body: Buffer.from(bytes) }),
    201,
  );
}

async function expectStatus(answer: Promise<Response>, status: number): Promise<Response> {
  const response = await answer;
  if (response.status !== status)
    throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
  return response;
}
