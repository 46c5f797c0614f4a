import { createPublicKey } from 'node:crypto';
import { copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { approvalFiles } from '../../src/bundle/proof/approval.ts';
import { signApproval } from '../support/approvals.ts';
import { fingerprint, readPrivateKey, readPublicKey } from '../../src/bundle/proof/seal.ts';
import { type CliResult, projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';

const maker = join(projectRoot, 'fixtures/bundle-v1.pub.pem');
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const run = (args: readonly string[]): Promise<CliResult> => runCli(args, { cwd: place.path });
const read = (name: string): Promise<string> => readFile(join(place.path, name), 'utf8');
const both = ['--key', maker, '--key', 'officer/sie-mirror.pub.pem', '--require', '2'];

/** The same public key, its point written in the short form: https://www.rfc-editor.org/rfc/rfc5480#section-2.2 */
function compressedPem(pem: string): string {
  const { x = '', y = '' } = createPublicKey(pem).export({ format: 'jwk' });
  const [point, last = 0] = [Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url').at(-1)];
  const start = Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex');
  const der = Buffer.concat([start, Buffer.of(2 + (last & 1)), point]);
  return `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`;
}

async function freshBundle(name: string): Promise<string> {
  await cp(join(projectRoot, 'fixtures/bundle-v1'), join(place.path, name), { recursive: true });
  return name;
}

async function approved(name: string): Promise<{ bundle: string; statement: string; signature: string }> {
  const bundle = await freshBundle(name);
  const flags = ['--key', 'officer/sie-mirror.key.pem', '--maker', maker, '--role', 'security officer'];
  expect(await run(['approve', bundle, ...flags, '--comment', 'ticket 4711'])).toMatchObject({ code: 0 });
  const print = fingerprint(readPublicKey(await read('officer/sie-mirror.pub.pem'), 'pub'));
  return { bundle, ...approvalFiles(print) };
}

const nobody = ['verify', '--insecure-host', '127.0.0.1:1', '--receipt', 'zone-of-nobody.json'];
const digestOfNothing = `sha256:${'0'.repeat(64)}`;
const receiptOfNobody = {
  schema: 'sie-mirror/receipt/v1',
  bundle: { name: 'b', inventory: digestOfNothing },
  tool: 'x',
  complete: true,
  targets: { images: '127.0.0.1:1/x' },
  models: [],
  images: [{ reference: 'a/b:c', target: '127.0.0.1:1/x/b:c', digest: digestOfNothing, digests: [digestOfNothing] }],
};

beforeAll(async () => {
  place = await temporaryDirectory();
  for (const who of ['officer', 'other']) expect(await run(['keygen', '--out', who])).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

describe('two people', () => {
  it('are both named when both have signed', async () => {
    const { bundle } = await approved('two');
    const verdict = await run(['verify', bundle, ...both]);
    expect(verdict, verdict.stderr).toMatchObject({ code: 0 });
    expect(verdict.stdout).toMatch(/\(maker\)\n.*\(security officer on .*: ticket 4711\)\n/);
    expect(await run(['import', bundle, ...both, '--models', 'file:models'])).toMatchObject({ code: 0 });
  });

  it('are not one person with one key, nor with one key twice', async () => {
    const bundle = await freshBundle('one');
    expect(await run(['verify', bundle, ...both])).toMatchObject({ code: 4 });
    await writeFile(join(place.path, 'again.pem'), compressedPem(await readFile(maker, 'utf8')));
    expect(await run(['verify', bundle, '--key', 'again.pem'])).toMatchObject({ code: 0 });
    for (const again of [maker, 'again.pem'])
      expect(await run(['verify', bundle, '--key', maker, '--key', again, '--require', '2'])).toMatchObject({
        code: 2,
      });
    expect(await run(['import', bundle, ...both, '--models', 'file:none'])).toMatchObject({ code: 4 });
    expect(await readdir(place.path)).not.toContain('none');
  });

  it('do not include a stranger', async () => {
    const { bundle } = await approved('stranger');
    const keys = ['--key', maker, '--key', 'other/sie-mirror.pub.pem'];
    expect(await run(['verify', bundle, ...keys])).toMatchObject({ code: 0 });
    expect(await run(['verify', bundle, ...keys, '--require', '2'])).toMatchObject({ code: 4 });
  });

  it('are told of an approval that was not counted, in every form of the verdict', async () => {
    const { bundle } = await approved('uncounted');
    const print = fingerprint(readPublicKey(await read('officer/sie-mirror.pub.pem'), 'pub'));
    const files = ['--junit', 'uncounted.xml', '--html', 'uncounted.html'];
    const { stdout } = await run(['verify', bundle, '--key', maker, ...files]);
    const { stdout: json } = await run(['verify', bundle, '--key', maker, '--json']);
    for (const text of [stdout, json, await read('uncounted.xml'), await read('uncounted.html')])
      expect(text).toMatch(new RegExp(`NOT COUNTED: an approval that names the key ${print} \\(security officer\\)`));
    expect(stdout.match(/^signature {2}good/gm)).toHaveLength(1);
    expect((await run(['verify', bundle])).stdout).toContain(
      'NOT CHECKED (no --key): the approval SHA256SUMS.approval-',
    );
  });

  it.each<[string, (files: { statement: string; signature: string }) => Promise<void>]>([
    [
      'was edited',
      async ({ statement }) => writeFile(statement, (await readFile(statement, 'utf8')).replace('4711', '1')),
    ],
    ['has lost its signature', ({ signature }) => rm(signature)],
    ['has an empty signature', ({ signature }) => writeFile(signature, '')],
    ['is no JSON', ({ statement }) => writeFile(statement, 'approved!')],
    [
      'is there a second time, under the name of another key',
      async ({ statement, signature }) => {
        const other = (path: string): string => path.replace(/-[0-9a-f]{16}\./, '-0123456789abcdef.');
        for (const path of [statement, signature]) await copyFile(path, other(path));
      },
    ],
    [
      'was given of another bundle',
      async ({ statement, signature }) => {
        const about = { role: 'officer', at: new Date().toISOString() };
        const key = readPrivateKey(await read('officer/sie-mirror.key.pem'), 'key');
        const given = signApproval(Buffer.from('the sums of another bundle\n'), key, about);
        await writeFile(statement, given.statement);
        await writeFile(signature, given.signature);
      },
    ],
  ])('make a bundle bad when an approval %s', async (what, change) => {
    const { bundle, statement, signature } = await approved(what.replaceAll(' ', '-'));
    const inside = join(place.path, bundle);
    await change({ statement: join(inside, statement), signature: join(inside, signature) });
    expect(await run(['verify', bundle, ...both])).toMatchObject({ code: 4 });
  });

  it('are not the maker twice, and the maker is checked first', async () => {
    const bundle = await freshBundle('self');
    const officer = ['--key', 'officer/sie-mirror.key.pem'];
    expect(await run(['approve', bundle, ...officer, '--maker', 'other/sie-mirror.pub.pem'])).toMatchObject({
      code: 4,
    });
    expect(await run(['approve', bundle, '--key', maker, '--maker', maker])).toMatchObject({ code: 2 });
  });
});

it('an approval that was broken off can be given again, and one that stands can be changed', async () => {
  const { bundle, statement, signature } = await approved('again');
  const inside = join(place.path, bundle);
  const again = ['approve', bundle, '--key', 'officer/sie-mirror.key.pem', '--maker', maker];
  await rm(join(inside, statement));
  expect(await run(['verify', bundle])).toMatchObject({ code: 4 });
  expect(await run([...again, '--comment', 'second'])).toMatchObject({ code: 0 });
  expect(await run([...again, '--comment', 'third'])).toMatchObject({ code: 0 });
  expect((await run(['verify', bundle, ...both])).stdout).toContain(': third)');
  expect(await readdir(inside)).toEqual(expect.arrayContaining([statement, signature]));
});

describe('evidence', () => {
  it('says the same in all its forms when the bundle is good', async () => {
    const bundle = await freshBundle('good');
    const flags = ['--key', maker, '--junit', 'good.xml', '--html', 'good.html', '--json'];
    const { code, stdout } = await run(['verify', bundle, ...flags]);
    const document = JSON.parse(stdout) as { ok: boolean; items: { kind: string; state: string }[] };
    expect([code, document.ok, document.items.filter(({ state }) => state === 'failed')]).toEqual([0, true, []]);
    expect(document.items.map(({ kind }) => kind)).toEqual(['volume', 'volume', 'volume', 'volume', 'model', 'image']);
    expect(await read('good.xml')).toContain('tests="6" failures="0"');
    expect(await read('good.html')).toMatch(/<h1>GOOD<\/h1>[^]*sie-test\/tiny-e5/);
  });

  it('names what is damaged in all its forms when it is not', async () => {
    const bundle = await freshBundle('damaged');
    const volume = join(place.path, bundle, 'bundle-v1.0004.tar');
    const bytes = await readFile(volume);
    bytes[700] = (bytes[700] ?? 0) ^ 1;
    await writeFile(volume, bytes);
    const sums = await readFile(join(place.path, bundle, 'SHA256SUMS'), 'utf8');
    const [sum = ''] = /[0-9a-f]{64}(?= {2}bundle-v1\.0004\.tar)/.exec(sums) ?? [];
    const { code, stdout } = await run(['verify', bundle, '--junit', 'bad.xml', '--html', 'bad.html', '--json']);
    const document = JSON.parse(stdout) as {
      items: { name: string; state: string; detail?: { damaged?: string[]; blob?: string } }[];
    };
    const failed = document.items.filter(({ state }) => state === 'failed');
    expect(code).toBe(4);
    expect(failed.map(({ name }) => name)).toEqual(['bundle-v1.0004.tar', expect.stringContaining('sie-server')]);
    expect(failed[1]?.detail?.damaged).toHaveLength(1);
    expect(failed[0]).toMatchObject({ digest: `sha256:${sum}`, bytes: bytes.length, detail: { problem: 'corrupt' } });
    expect(failed[0]?.detail?.blob).toMatch(/^oci\/blobs\/sha256\//);
    expect(await read('bad.xml')).toContain('failures="2"');
    expect(await read('bad.html')).toMatch(/<h1>BAD<\/h1>[^]*bundle-v1\.0004\.tar/);
  });

  it.each([
    ['is not by the key that was given', ['verify', 'good', '--key', 'other/sie-mirror.pub.pem'], 4, 'BAD'],
    ['is not there', ['verify', 'nowhere'], 7, 'NOT PROVEN'],
    ['lies in a registry that does not answer', [...nobody, '--registry', '127.0.0.1:1/x'], 5, 'NOT PROVEN'],
    ['is asked for by too few keys', ['verify', 'good', '--key', maker, '--require', '2'], 2, 'NOT PROVEN'],
  ])('says the same in all its forms of what %s', async (_, args, exit, verdict) => {
    await freshBundle('good');
    await writeFile(join(place.path, 'zone-of-nobody.json'), JSON.stringify(receiptOfNobody));
    const { code, stdout } = await run([...args, '--junit', 'none.xml', '--html', 'none.html', '--retries', '0']);
    const { stdout: json } = await run([...args, '--json', '--retries', '0']);
    const document = JSON.parse(json) as { ok: boolean; verdict: string };
    expect([code, stdout, document.ok, document.verdict]).toEqual([exit, `${verdict}\n`, false, verdict]);
    expect(await read('none.html')).toContain(`<h1>${verdict}</h1>`);
    expect(await read('none.xml')).toMatch(/failures="1"[^]*<failure type="E_/);
  });

  it('of an earlier verdict does not outlive a bundle that cannot even be opened', async () => {
    await writeFile(join(place.path, 'old.html'), '<h1>GOOD</h1>');
    expect(
      await run(['verify', 'good', '--key', 'other/sie-mirror.pub.pem', '--html', 'old.html', '--junit', 'old.xml']),
    ).toMatchObject({ code: 4 });
    expect(await read('old.html')).toContain('<h1>BAD</h1>');
    expect(await read('old.xml')).toContain('failures="1"');
  });

  it('does not call good what nobody has proven', async () => {
    const bundle = await freshBundle('unproven');
    await run(['verify', bundle, '--html', 'unproven.html']);
    expect(await read('unproven.html')).toContain('<h1>GOOD, SIGNATURE NOT CHECKED</h1>');
    for (const name of ['SHA256SUMS.sig', 'SHA256SUMS.sigstore.json']) await rm(join(place.path, bundle, name));
    const { stdout } = await run(['verify', bundle, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, verdict: 'GOOD, NOT SIGNED' });
  });

  it('is not written into the bundle, where it would be a file too many', async () => {
    const bundle = await freshBundle('inside');
    const before = await readdir(join(place.path, bundle));
    for (const flag of ['--html', '--junit'])
      expect(await run(['verify', bundle, flag, `${bundle}/./evidence`])).toMatchObject({ code: 2 });
    expect(await readdir(join(place.path, bundle))).toEqual(before);
  });

  it('that cannot be written is an error of its own, once', async () => {
    const bundle = await freshBundle('unwritable');
    const { code, stdout, stderr } = await run(['verify', bundle, '--json', '--html', `${bundle}/SHA256SUMS/x.html`]);
    expect([code, stderr.split('error: ').length - 1]).toEqual([8, 1]);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'E_PATH' } });
  });

  it('shows hostile text as text', async () => {
    await mkdir(join(place.path, '<script>&"'));
    await run(['verify', '<script>&"', '--html', 'hostile.html', '--junit', 'hostile.xml']);
    for (const name of ['hostile.html', 'hostile.xml']) {
      expect(await read(name)).toContain('&lt;script&gt;&amp;');
      expect(await read(name)).not.toContain('<script>');
    }
  });

  it('says the same in all its forms of what lies in the zone', async () => {
    const bundle = await freshBundle('imported');
    expect(await run(['import', bundle, '--models', 'file:zone', '--receipt', 'zone.json'])).toMatchObject({ code: 0 });
    const zone = [
      'verify',
      'file:zone',
      '--receipt',
      'zone.json',
      '--json',
      '--junit',
      'zone.xml',
      '--html',
      'zone.html',
    ];
    const good = await run(zone);
    expect(good, good.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(good.stdout)).toMatchObject({ command: 'verify', ok: true, verdict: 'GOOD' });
    expect(await read('zone.html')).toMatch(/<h1>GOOD<\/h1>[^]*sie-test\/tiny-e5/);

    const [config = ''] = (await readdir(join(place.path, 'zone'), { recursive: true })).filter((path) =>
      path.endsWith('/config.json'),
    );
    await writeFile(join(place.path, 'zone', config), '{}');
    const bad = await run(zone);
    expect([bad.code, (JSON.parse(bad.stdout) as { verdict: string }).verdict]).toEqual([4, 'BAD']);
    expect(await read('zone.xml')).toMatch(/failures="2"[^]*hint: sie-mirror import bundle-v1 --models file:/);
    expect(await read('zone.html')).toMatch(/<h1>BAD<\/h1>[^]*config\.json/);
  });

  it('of a part of the volumes judges what is there, and says what is not', async () => {
    const bundle = await freshBundle('part');
    await rm(join(place.path, bundle, 'bundle-v1.0004.tar'));
    expect(await run(['verify', bundle, '--key', maker])).toMatchObject({ code: 4 });
    const flags = ['--key', maker, '--partial', '--json', '--junit', 'part.xml', '--html', 'part.html'];
    const { code, stdout } = await run(['verify', bundle, ...flags]);
    const { items } = JSON.parse(stdout) as { items: { kind: string; state: string }[] };
    expect([code, items.map(({ kind, state }) => `${kind} ${state}`)]).toEqual([
      0,
      ['volume done', 'volume done', 'volume done', 'volume skipped', 'model done', 'image skipped'],
    ]);
    expect(await read('part.xml')).toContain('skipped="2"');
    expect(await read('part.html')).toContain('<h1>GOOD AS FAR AS IT IS HERE</h1>');
    const volume = join(place.path, bundle, 'bundle-v1.0001.tar');
    await writeFile(volume, (await readFile(volume)).subarray(0, -512));
    expect(await run(['verify', bundle, '--partial'])).toMatchObject({ code: 4 });
    await rm(join(place.path, bundle, 'inventory.json'));
    expect(await run(['verify', bundle, '--partial'])).toMatchObject({ code: 4 });
    const empty = await freshBundle('empty');
    const volumes = (await readdir(join(place.path, empty))).filter((name) => name.endsWith('.tar'));
    for (const name of volumes) await rm(join(place.path, empty, name));
    expect(await run(['verify', empty, '--partial'])).toMatchObject({ code: 4 });
  });
});
