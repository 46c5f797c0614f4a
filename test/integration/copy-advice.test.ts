import { describe, expect, it } from 'vitest';
import { withCopyWorld } from '../support/copy-command.ts';
import { failureOf } from '../support/failures.ts';
import { buildArtifact, buildImage } from '../support/images.ts';
import type { Fault } from '../support/server.ts';

const image = buildImage({ seed: 'image' });
const blob = /\/blobs\/sha256:/;
const manifest = /\/manifests\//;
const any = /./;
const html = { 'content-type': 'text/html' };
const answer = (status: number, headers: Record<string, string> = {}, body = ''): Fault => ({
  kind: 'status',
  status,
  headers,
  body,
});

describe('an error names the side and the item, and says what to do', () => {
  it.each<[string, 'source' | 'zone', RegExp, Fault, string]>([
    ['a layer of other bytes', 'source', blob, { kind: 'flip', at: 5 }, 'E_DIGEST_MISMATCH'],
    ['a layer that is too short', 'source', blob, answer(200, { 'content-length': '0' }), 'E_SIZE_MISMATCH'],
    ['a manifest of other bytes', 'source', manifest, { kind: 'flip', at: 5 }, 'E_DIGEST_MISMATCH'],
    ['connections that break', 'source', blob, { kind: 'reset', after: 5 }, 'E_NETWORK'],
    ['a web page', 'source', manifest, answer(200, html, '<html></html>'), 'E_PROTOCOL'],
    ['a status that nobody knows', 'source', any, answer(418), 'E_PROTOCOL'],
    ['a redirect to a file', 'source', blob, answer(307, { location: 'file:///etc/passwd' }), 'E_PROTOCOL'],
    ['a redirect to link-local', 'source', blob, answer(307, { location: 'http://169.254.169.254/' }), 'E_PROTOCOL'],
    ['503', 'source', any, answer(503), 'E_REMOTE'],
    ['429', 'source', any, answer(429), 'E_RATE_LIMIT'],
    ['a login that no registry has', 'source', any, answer(401, { 'www-authenticate': 'Negotiate, NTLM' }), 'E_AUTH'],
    ['503 at the target', 'zone', any, answer(503), 'E_REMOTE'],
    ['409 at the target', 'zone', /uploads/, answer(409), 'E_REFUSED'],
    ['418 at the target', 'zone', /uploads/, answer(418), 'E_PROTOCOL'],
  ])('%s', async (_, side, pattern, fault, code) => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world[side].server.faults = ({ path }) => (pattern.test(path) ? fault : undefined);

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual([code, side === 'zone' ? 'target' : 'source']);
      expect(error.at.item).toMatch(/app|sha256:/);
      expect(error.hint).toMatch(/\w{3}/);
      expect(error.hint).not.toContain('docker login');
    });
  });

  it('a manifest that no registry takes', async () => {
    await withCopyWorld({}, async (world) => {
      const large = buildArtifact({ seed: 'large', annotations: { x: 'y'.repeat(5 * 1024 ** 2) } });
      world.source.put('app', large, 'v1');

      const error = await failureOf(world.run({ source: 'SOURCE/app:v1', target: 'ZONE/app' }));

      expect([error.code, error.at.side]).toEqual(['E_SIZE_MISMATCH', 'source']);
      expect(error.hint).toContain('annotations');
    });
  });

  it('in the report of a list, too', async () => {
    await withCopyWorld({}, async (world) => {
      world.source.put('app', image, 'v1');
      world.source.server.faults = ({ path }) => (blob.test(path) ? { kind: 'flip', at: 5 } : undefined);

      const report = await world.run({ source: 'SOURCE/app', target: 'ZONE/app', allTags: true });

      expect(report.items[0]?.error).toMatchObject({ code: 'E_DIGEST_MISMATCH', hint: expect.stringMatching(/\w/) });
    });
  });
});
