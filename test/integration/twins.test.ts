import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundle } from '../../src/commands/bundle.ts';
import { verify } from '../../src/commands/verify.ts';
import type { Event } from '../../src/core/events.ts';
import type { Filter } from '../../src/hub/selection/filter.ts';
import { failureOf } from '../support/failures.ts';
import { type HubPlace, startHubPlace } from '../support/hub-store.ts';
import { filesBelow } from '../support/place.ts';
import { placeTool } from '../support/tool.ts';
import { testContext } from '../support/context.ts';

let place: HubPlace;

beforeEach(async () => {
  place = await startHubPlace();
});

afterEach(() => place.close());

async function seal<T>(work: (context: HubPlace['context']) => Promise<T>): Promise<T> {
  const toolFile = await placeTool(place.directory);
  const { context } = await testContext({ cwd: place.directory, toolFile });
  try {
    return await work(context);
  } finally {
    await context.close();
  }
}

/** As a command of its own, which keeps no lock afterwards. */
async function fetched(repo: string, filter?: Filter): Promise<Event[]> {
  const own = await place.withEnv({});
  expect(await own.snapshot(repo, filter === undefined ? {} : { filter })).toMatchObject({ ok: true });
  await own.close();
  return own.events;
}

const sealed = (): Promise<unknown> => seal((context) => bundle({ store: 'store', out: 'usb', name: 'b' }, context));

describe('files that are one on some file systems', () => {
  it.each([
    ['in upper and lower case', ['config.json', 'x/a[1].txt', 'x/A[1].TXT'], 'all'],
    ['in how letters are composed', ['config.json', 'cafe\u0301.txt', 'caf\u00e9.txt'], 'all'],
    ['among what stands beside a snapshot', ['config.json', 'README.md', 'readme.md'], 'sie'],
  ] as const)('are told of when they come, and keep a bundle from being begun: %s', async (_, names, preset) => {
    place.hub.addRepo({ id: 'org/name', files: Object.fromEntries(names.map((name) => [name, name])) });
    const events = await fetched('org/name', { preset, include: [], exclude: [] });
    expect(events.filter(({ type }) => type === 'warning')).toHaveLength(1);

    const error = await failureOf(sealed());

    expect(error).toMatchObject({ code: 'E_REFUSED', hint: expect.stringContaining('org/name') as string });
    expect((await readdir(place.directory)).filter((name) => name === 'usb')).toEqual([]);
    const [, pattern = ''] = /--exclude '(.*)'/.exec(error.hint ?? '') ?? [];
    await fetched('org/name', { preset, include: [], exclude: [pattern] });
    expect(await sealed()).toMatchObject({ ok: true });
    expect(await seal((context) => verify({ bundle: 'usb/b' }, context))).toMatchObject({ ok: true });
  });

  it('are named when they are no files of a repo', async () => {
    place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}' }, branches: ['main', 'v1'] });
    await fetched('org/name@v1');
    const refs = join(place.cache, 'models--org--name/refs');
    await mkdir(refs, { recursive: true });
    const [commit = ''] = await readdir(join(place.cache, 'models--org--name/snapshots'));
    await writeFile(join(refs, 'V1'), commit);
    const error = await failureOf(sealed());
    expect(error.message).toMatch(/refs\/V1.*refs\/v1|refs\/v1.*refs\/V1/);
    expect(error.hint).toBeDefined();
  });
});

it('names that Windows has not are told of, and carried', async () => {
  place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}', 'weights/aux.bin': 'a', 'ab:c': 'b' } });
  await fetched('org/name');
  const { context, events } = await testContext({
    cwd: place.directory,
    toolFile: await placeTool(place.directory),
  });
  expect(await bundle({ store: 'store', out: 'usb', name: 'b' }, context)).toMatchObject({ ok: true });
  await context.close();
  const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
  expect(warnings).toEqual([
    expect.stringMatching(/^2 paths, such as `hub\/.*\/(?:ab:c|weights\/aux\.bin)`, .*Windows/),
  ]);
  expect(await seal((each) => verify({ bundle: 'usb/b' }, each))).toMatchObject({ ok: true });
});

it('a licence that is no longer wanted does not stay beside the snapshot', async () => {
  place.hub.addRepo({ id: 'org/name', files: { 'config.json': '{}', LICENSE: 'mine', 'docs/LICENSE': 'also' } });
  const notices = async (): Promise<string[]> => filesBelow(join(place.directory, 'store/files'));
  await place.snapshot('org/name', { filter: { preset: 'sie', include: [], exclude: [] } });
  const before = await notices();
  await place.snapshot('org/name', { filter: { preset: 'sie', include: [], exclude: ['LICENSE'] } });
  expect(before.filter((path) => path.endsWith('/LICENSE'))).toHaveLength(1);
  expect(await notices()).toEqual(before.filter((path) => !path.endsWith('/LICENSE')));
});
