import { watch } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf } from '../support/failures.ts';
import { type HubPlace, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { waitFor } from '../support/wait.ts';

const folder = 'models--org--name';
const files = { 'a.txt': 'a' };
let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
  place.hub.addRepo({ id: 'org/name', files });
});

afterEach(async () => {
  await place.close();
});

describe('below refs', () => {
  const refs = (): string => join(place.cache, folder, 'refs');

  it('nothing ever stands but refs: readers drop a repo with anything else there, as a kill would leave it', async () => {
    await place.snapshot('org/name');
    const { commit: next } = place.hub.addRepo({ id: 'org/name', files: { ...files, 'b.txt': 'b' } });
    const seen = new Set<string>();
    const watcher = watch(refs(), (_, name) => seen.add(name ?? ''));
    await place.snapshot('org/name');
    await writeFile(join(refs(), 'end'), '');
    await waitFor('all of it was told', () => seen.has('end'));
    watcher.close();

    expect([...seen].sort()).toEqual(['end', 'main']);
    expect(await readFile(join(refs(), 'main'), 'utf8')).toBe(next);
  });

  it('what an earlier version left there when it was killed goes', async () => {
    await place.snapshot('org/name');
    await mkdir(join(refs(), 'refs/pr'), { recursive: true });
    for (const name of ['main.0123abcd.partial', 'refs/pr/1.0123abcd.partial']) await writeFile(join(refs(), name), '');
    await place.snapshot('org/name');
    expect(await filesBelow(refs())).toEqual(['main']);
  });

  it('a directory where a ref has to stand is refused, and named', async () => {
    place.hub.addRepo({ id: 'org/name', files, branches: ['main', 'v1'] });
    await mkdir(join(refs(), 'v1/x'), { recursive: true });
    const error = await failureOf(place.snapshot('org/name@v1'));
    expect(error).toMatchObject({ code: 'E_PATH', message: expect.stringContaining(`${refs()}/v1\``) as string });
    expect(error.hint).toBeDefined();
  });
});
