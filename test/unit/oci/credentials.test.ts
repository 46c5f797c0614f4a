import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findCredentials } from '../../../src/oci/access/credential-sources.ts';
import type { Credential, CredentialFinder } from '../../../src/oci/access/credentials.ts';
import { codeOf, failureOf } from '../../support/failures.ts';
import { temporaryDirectory } from '../../support/place.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let env: Record<string, string>;

beforeEach(async () => {
  place = await temporaryDirectory();
  env = { PATH: join(place.path, 'bin') };
});

afterEach(async () => {
  await place[Symbol.asyncDispose]();
});

const docker = '.docker/config.json';
const podman = '.config/containers/auth.json';

async function put(path: string, content: unknown): Promise<string> {
  const full = join(place.path, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, typeof content === 'string' ? content : JSON.stringify(content));
  return full;
}

/** A helper that notes each question and answers with what `answer` (JavaScript) prints for the host `server`. */
async function putHelper(name: string, answer: string): Promise<void> {
  const path = await put(
    `bin/docker-credential-${name}`,
    `#!${process.execPath}
const server = require('fs').readFileSync(0, 'utf8');
require('fs').appendFileSync(${JSON.stringify(join(place.path, 'asked'))}, process.argv[2] + ' ' + server + '\\n');
const say = (Username, Secret) => console.log(JSON.stringify({ ServerURL: server, Username, Secret }));
${answer}
`,
  );
  await chmod(path, 0o755);
}

async function asked(): Promise<string[]> {
  const text = await readFile(join(place.path, 'asked'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
}

const finder = (): CredentialFinder => findCredentials(env, place.path);
const find = async (registry: string, repository = 'team/app'): Promise<Credential | undefined> =>
  finder()(registry, repository);
const login = (user: string, password = 'secret'): { auth: string } => ({
  auth: Buffer.from(`${user}:${password}`).toString('base64'),
});
const basic = (user: string, password = 'secret'): Credential => ({ kind: 'basic', user, password });

describe('the key of an entry', () => {
  it.each([
    ['docker.io', 'https://index.docker.io/v1/'],
    ['docker.io', 'index.docker.io'],
    ['docker.io', 'docker.io'],
    ['docker.io', 'registry-1.docker.io'],
    ['docker.io', 'https://registry-1.docker.io'],
    ['r.example', 'r.example'],
    ['r.example', 'r.example/'],
    ['r.example', 'r.example/v1/'],
    ['r.example', 'https://r.example'],
    ['r.example', 'https://r.example/'],
    ['r.example', 'https://r.example/v1/'],
    ['r.example', 'https://r.example/v2/'],
    ['r.example', 'http://r.example'],
    ['r.example:5000', 'r.example:5000'],
    ['r.example:5000', 'https://r.example:5000'],
    ['[::1]:5000', '[::1]:5000'],
    // Names of hosts know no upper case.
    ['r.example', 'R.Example'],
    ['R.Example:5000', 'r.example:5000'],
    ['R.example', 'HTTPS://r.EXAMPLE/v2/'],
    ['docker.io', 'https://Index.Docker.io/v1/'],
  ])('of %s may be %s', async (registry, key) => {
    await put(docker, { auths: { [key]: login('me') } });

    expect(await find(registry)).toEqual(basic('me'));
  });

  it.each([
    ['r.example', 'r.example:5000'],
    ['r.example:5000', 'r.example'],
    ['r.example', 'a.r.example'],
    ['a.r.example', 'r.example'],
    ['r.example', 'r.example.org'],
    ['r.example', 'https://r.example:5000'],
  ])('of %s is not %s', async (registry, key) => {
    await put(docker, { auths: { [key]: login('me') } });

    expect(await find(registry)).toBeUndefined();
  });

  it('that is written as hosts are wins over one in capitals', async () => {
    await put(docker, { auths: { 'R.Example': login('old'), 'r.example': login('new') } });

    expect(await find('R.Example')).toEqual(basic('new'));
  });

  it('may name a part of a registry in capitals', async () => {
    await put(podman, { auths: { 'R.Example/team': login('team'), 'r.example': login('all') } });

    expect(await find('r.EXAMPLE')).toEqual(basic('team'));
  });

  it('in its plain form wins over what an older login left', async () => {
    await put(docker, { auths: { 'https://r.example/v1/': login('old'), 'r.example': login('new') } });

    expect(await find('r.example')).toEqual(basic('new'));
  });

  it('may name a part of the registry: the longest that the repository lies below', async () => {
    await put(podman, {
      auths: {
        'r.example/team': login('team'),
        'r.example/team/app': login('app'),
        'r.example/team/application': login('other'),
        'r.example': login('all'),
      },
    });

    const users = ['team/app', 'team/app/deep', 'team/x', 'teams/x', 'x'].map(async (repository) =>
      find('r.example', repository),
    );
    expect((await Promise.all(users)).map((found) => found?.kind === 'basic' && found.user)).toEqual([
      'app',
      'app',
      'team',
      'all',
      'all',
    ]);
  });
});

describe('an entry', () => {
  it.each<[string, object, Credential | undefined]>([
    ['with a password that has colons', login('_json_key', '{"a":"b:c"}'), basic('_json_key', '{"a":"b:c"}')],
    ['of ECR', login('AWS', 'token=='), basic('AWS', 'token==')],
    [
      'of Google',
      { username: 'oauth2accesstoken', password: 'ya29.x' },
      { ...basic('oauth2accesstoken'), password: 'ya29.x' } as Credential,
    ],
    [
      'of Azure, with an identity token and no password',
      { ...login('00000000-0000-0000-0000-000000000000', ''), identitytoken: 'id' },
      { kind: 'identity', token: 'id' },
    ],
    [
      'with an identity token and a password',
      { ...login('me'), identitytoken: 'id' },
      { kind: 'identity', token: 'id', basic: { kind: 'basic', user: 'me', password: 'secret' } },
    ],
    ['with a token for the registry', { registrytoken: 'access' }, { kind: 'access', token: 'access' }],
    ['with a password that docker padded', login('me', 'secret\0\0'), basic('me')],
    ['that is empty, as beside a credsStore', {}, undefined],
  ])('%s is read', async (_, entry, credential) => {
    await put(docker, { auths: { 'r.example': entry } });

    expect(await find('r.example')).toEqual(credential);
  });

  it('that is no user and password is refused by its name, without being shown', async () => {
    const path = await put(docker, { auths: { 'r.example': { auth: Buffer.from('canary').toString('base64') } } });
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toContain(path);
    expect(error.message).toContain('r.example');
    expect(error.message).not.toMatch(/canary|Y2FuYXJ5/);
  });
});

describe('the files', () => {
  it.each<[string, Record<string, string>, string]>([
    ['config.json in ~/.docker', {}, docker],
    ['config.json in DOCKER_CONFIG', { DOCKER_CONFIG: 'elsewhere' }, 'elsewhere/config.json'],
    ['auth.json in XDG_RUNTIME_DIR', { XDG_RUNTIME_DIR: 'run' }, 'run/containers/auth.json'],
    ['auth.json in ~/.config', {}, podman],
    ['auth.json in XDG_CONFIG_HOME', { XDG_CONFIG_HOME: 'settings' }, 'settings/containers/auth.json'],
    ['the one that REGISTRY_AUTH_FILE names', { REGISTRY_AUTH_FILE: 'mine.json' }, 'mine.json'],
  ])('%s is read', async (_, variables, path) => {
    for (const [name, value] of Object.entries(variables)) env[name] = join(place.path, value);
    await put(path, { auths: { 'r.example': login('me') } });

    expect(await find('r.example')).toEqual(basic('me'));
  });

  it("come in order: docker's, then podman's of this login session, then podman's", async () => {
    env['XDG_RUNTIME_DIR'] = join(place.path, 'run');
    await put(docker, { auths: { 'a.example': login('docker') } });
    await put('run/containers/auth.json', {
      auths: { 'a.example': login('session'), 'b.example': login('session') },
    });
    await put(podman, {
      auths: Object.fromEntries(['a', 'b', 'c'].map((name) => [`${name}.example`, login('podman')])),
    });

    expect(await find('a.example')).toEqual(basic('docker'));
    expect(await find('b.example')).toEqual(basic('session'));
    expect(await find('c.example')).toEqual(basic('podman'));
  });

  it('are not looked at when REGISTRY_AUTH_FILE is set', async () => {
    env['REGISTRY_AUTH_FILE'] = await put('mine.json', { auths: { 'a.example': login('mine') } });
    await put(docker, { auths: { 'a.example': login('docker'), 'b.example': login('docker') } });

    expect(await find('a.example')).toEqual(basic('mine'));
    expect(await find('b.example')).toBeUndefined();
  });

  it('need not exist', async () => {
    expect(await find('r.example')).toBeUndefined();
  });

  it('may be empty', async () => {
    await put(podman, '');

    expect(await find('r.example')).toBeUndefined();
  });

  it('must exist when REGISTRY_AUTH_FILE names one', async () => {
    env['REGISTRY_AUTH_FILE'] = join(place.path, 'none.json');
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_USAGE');
    expect(`${error.message} ${error.hint}`).toMatch(/none\.json.*REGISTRY_AUTH_FILE/);
  });

  it.each([
    ['is no JSON', '{"auths": {"r.example": {"auth": "Y2FuYXJ5'],
    ['is another document', '["canary"]'],
    ['has entries of another kind', '{"auths": {"r.example": "canary"}}'],
  ])('are named when one %s, and not quoted', async (_, text) => {
    const path = await put(docker, text);
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toContain(path);
    expect(error.message).not.toMatch(/canary|Y2FuYXJ5/);
  });

  it('are named when one cannot be read', async () => {
    await mkdir(join(place.path, docker), { recursive: true });
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toContain(docker);
  });
});

describe('a helper', () => {
  it('of the host comes before entries, and entries before the common one', async () => {
    await putHelper('host', "say('host', 'secret')");
    await putHelper('common', "say('common', 'secret')");
    await put(docker, {
      credHelpers: { 'a.example': 'host' },
      auths: { 'a.example': login('entry'), 'b.example': login('entry') },
      credsStore: 'common',
    });

    expect(await find('a.example')).toEqual(basic('host'));
    expect(await find('b.example')).toEqual(basic('entry'));
    expect(await find('c.example')).toEqual(basic('common'));
    expect(await asked()).toEqual(['get a.example', 'get c.example']);
  });

  it("of a host is known to podman's file too", async () => {
    await putHelper('host', "say('host', 'secret')");
    await put(podman, { credHelpers: { 'r.example': 'host' } });

    expect(await find('r.example')).toEqual(basic('host'));
  });

  it('is asked for Docker Hub by the name under which docker keeps it', async () => {
    await putHelper('common', "say('me', 'secret')");
    await put(docker, { credsStore: 'common' });

    expect(await find('docker.io', 'library/nats')).toEqual(basic('me'));
    expect(await asked()).toEqual(['get https://index.docker.io/v1/']);
  });

  it('is asked by the name that the file has for the host: it compares letter by letter', async () => {
    await putHelper('common', "say('me', 'secret')");
    await putHelper('host', "say('host', 'secret')");
    await put(docker, { credsStore: 'common', auths: { 'A.Example': {} }, credHelpers: { 'B.Example': 'host' } });

    expect(await find('a.example')).toEqual(basic('me'));
    expect(await find('b.EXAMPLE')).toEqual(basic('host'));
    expect(await find('C.example')).toEqual(basic('me'));
    expect(await asked()).toEqual(['get A.Example', 'get B.Example', 'get C.example']);
  });

  it('may give an identity token', async () => {
    await putHelper('acr', "say('<token>', 'id')");
    await put(docker, { credsStore: 'acr' });

    expect(await find('r.example')).toEqual({ kind: 'identity', token: 'id' });
  });

  it('that has none leaves the question to the next file', async () => {
    await putHelper('common', "console.log('credentials not found in native keychain'); process.exit(1)");
    await put(docker, { credsStore: 'common' });
    await put(podman, { auths: { 'a.example': login('podman') } });

    expect(await find('a.example')).toEqual(basic('podman'));
    expect(await find('b.example')).toBeUndefined();
  });

  it.each([
    ['fails', "console.error('canary'); console.log('canary'); process.exit(3)"],
    ['answers with something else', "console.log('canary')"],
    ['answers without a secret', "console.log(JSON.stringify({ Username: 'canary' }))"],
  ])('that %s is named, and not quoted', async (_, answer) => {
    await putHelper('broken', answer);
    await put(docker, { credsStore: 'broken' });
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_AUTH');
    expect(error.message).toContain('docker-credential-broken');
    expect(`${error.message} ${error.hint} ${error.stack} ${String(error.cause)}`).not.toContain('canary');
  });

  it('that is not installed is named in what to do', async () => {
    await put(docker, { credHelpers: { 'r.example': 'missing' } });
    const error = await failureOf(find('r.example'));

    expect(error.code).toBe('E_AUTH');
    expect(error.hint).toContain('docker-credential-missing');
  });

  it('that is not installed does not hide what another file has', async () => {
    await put(docker, { credsStore: 'missing' });
    await put(podman, { auths: { 'r.example': login('podman') } });

    expect(await find('r.example')).toEqual(basic('podman'));
    expect(await codeOf(find('other.example'))).toBe('E_AUTH');
  });

  it('is run once for many who ask, and again when what it gave was refused', async () => {
    await putHelper('cloud', `say('AWS', String(require('fs').readFileSync('${place.path}/asked', 'utf8').length))`);
    await put(docker, { credHelpers: { 'r.example': 'cloud' } });
    const ask = finder();

    const all = await Promise.all(['a', 'b', 'c'].map((name) => ask('r.example', name)));
    const first = all[0];
    expect(new Set(all.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(await asked()).toHaveLength(1);

    const again = await Promise.all(['a', 'b', 'c'].map((name) => ask('r.example', name, first)));
    expect(new Set(again.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(again[0]).not.toEqual(first);
    expect(await asked()).toHaveLength(2);
    expect(await ask('r.example', 'a')).toEqual(again[0]);
  });

  it('is run again after an hour, as the tokens of clouds run out', async () => {
    await putHelper('cloud', "say('AWS', 'token')");
    await put(docker, { credHelpers: { 'r.example': 'cloud' } });
    const ask = finder();
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      await ask('r.example', 'a');
      vi.setSystemTime(Date.now() + 59 * 60_000);
      await ask('r.example', 'a');
      expect(await asked()).toHaveLength(1);

      vi.setSystemTime(Date.now() + 2 * 60_000);
      await ask('r.example', 'a');
      expect(await asked()).toHaveLength(2);
    } finally {
      vi.useRealTimers();
    }
  });
});
