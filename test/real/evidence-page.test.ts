import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { renderEvidence } from '../../src/cli/evidence.ts';
import { makeReport, type ReportItem } from '../../src/core/report.ts';
import { projectRoot, runCli } from '../support/cli.ts';
import { temporaryDirectory } from '../support/place.ts';
import { findCommand, runCommand } from './command.ts';
import { installPackages } from './debian.ts';

/** The page of evidence in a real browser: what it shows, what it does not do, and how it comes out on paper. */

let browser: string;
let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const at = (name: string): string => join(place.path, name);

async function findBrowser(): Promise<string | undefined> {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    const found = await findCommand(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function browse(page: string, ...flags: string[]): Promise<string> {
  const quiet = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars'];
  const profile = `--user-data-dir=${at('profile')}`;
  return runCommand(browser, [...quiet, profile, ...flags, `file://${at(page)}`], { timeoutMs: 120_000 });
}

/** The text of an element, as the browser has built it. */
function textsOf(dom: string, tag: string): string[] {
  return [...dom.matchAll(new RegExp(`<${tag}\\b[^>]*>(.*?)</${tag}>`, 'g'))].map(([, text = '']) => text);
}

beforeAll(async () => {
  if ((await findBrowser()) === undefined) await installPackages(['chromium']);
  browser = (await findBrowser()) ?? '';
  place = await temporaryDirectory();
});

afterAll(async () => {
  await place[Symbol.asyncDispose]();
});

it('shows the verdict, the key, and every item with revision or digest, licence and size', async () => {
  const key = join(projectRoot, 'fixtures/bundle-v1.pub.pem');
  const flags = ['--key', key, '--html', at('good.html'), '--json'];
  const { code, stdout } = await runCli(['verify', join(projectRoot, 'fixtures/bundle-v1'), ...flags], {
    cwd: place.path,
  });
  const { items, facts } = JSON.parse(stdout) as { items: ReportItem[]; facts: Record<string, string> };
  const dom = await browse('good.html', '--dump-dom');
  expect([code, textsOf(dom, 'h1')]).toEqual([0, ['GOOD']]);
  const cells = textsOf(dom, 'td');
  for (const fact of ['signature', 'digest of SHA256SUMS', 'made by']) expect(cells).toContain(facts[fact]);
  for (const { digest, detail } of items) expect(cells).toContain(digest ?? detail?.['commit']);
  expect(cells.filter((cell) => cell === 'good')).toHaveLength(items.length);
});

it('runs nothing, loads nothing and leads nowhere, whatever things are called', async () => {
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    response.end('document.documentElement.id = "owned"');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const own = "document.documentElement.id='ow'+'ned'";
  const hostile = [
    `</title></style><script>${own}</script>`,
    `<img src="${url}/a" onerror="${own}">`,
    `<script src="${url}/b"></script><link rel="stylesheet" href="${url}/c">`,
    `<meta http-equiv="refresh" content="0;url=${url}/d"><base href="${url}/"><a href="javascript:${own}">x</a>`,
    `"' onmouseover="${own}" autofocus onfocus="${own}`,
    `}</style>*{background:url(${url}/e)}@import "${url}/f";`,
    '\u202egnp.exe\u202c',
  ];
  const named = hostile.map((text): ReportItem => {
    const error = { code: 'E_CORRUPT', message: text, hint: text, at: {} } as const;
    return { kind: 'model', name: text, state: 'failed', error, detail: { license: text } };
  });
  const report = makeReport('verify', named, {}, []);
  const facts = Object.fromEntries(hostile.map((text) => [text, text]));
  const witness = { user: hostile[0] ?? '', host: hostile[1] ?? '', at: 'x', tool: 'x' };
  await writeFile(at('hostile.html'), renderEvidence({ ...report, verdict: 'BAD', facts }, witness));

  const dom = await browse('hostile.html', '--dump-dom', '--virtual-time-budget=2000');
  await new Promise((done) => server.close(done));
  expect([asked, dom.includes('owned')]).toEqual([0, false]);
  const elements = new Set([...dom.matchAll(/<([a-z][a-z0-9]*)\b/g)].map(([, name = '']) => name));
  for (const name of ['script', 'img', 'a', 'link', 'base']) expect(elements).not.toContain(name);
  expect(dom.match(/<meta\b/g)).toHaveLength(3);
  expect(textsOf(dom, 'h1')).toEqual(['BAD']);
  expect(dom).toContain('\\u202egnp.exe\\u202c');
});

it('prints, a long one on as many pages as it takes', async () => {
  const volumes = Array.from({ length: 120 }, (_, index): ReportItem => {
    const name = `site-a.${String(index + 1).padStart(4, '0')}.tar`;
    return { kind: 'volume', name, state: 'done', bytes: 4_294_966_784, digest: `sha256:${'0123abcd'.repeat(8)}` };
  });
  const report = makeReport('verify', volumes, {}, []);
  const witness = { user: 'officer', host: 'station', at: '2026-11-22T00:00:00.000Z', tool: 'sie-mirror/0.1.0' };
  await writeFile(at('long.html'), renderEvidence({ ...report, verdict: 'GOOD', facts: { bundle: 'a' } }, witness));
  await browse('long.html', '--no-pdf-header-footer', `--print-to-pdf=${at('long.pdf')}`);
  const pdf = await readFile(at('long.pdf'), 'latin1');
  expect(pdf.startsWith('%PDF-')).toBe(true);
  const pages = pdf.match(/\/Type\s*\/Page\b/g)?.length ?? 0;
  expect(pages).toBeGreaterThan(2);
  expect(pages).toBeLessThan(8);
});

it('is no wider than the window or the paper, however long names are', async () => {
  const name = 'w'.repeat(255);
  const error = { code: 'E_CORRUPT', message: `\`${name}\` is damaged`, hint: name, at: {} } as const;
  const items: ReportItem[] = [{ kind: 'model', name, state: 'failed', error, detail: { license: name } }];
  const facts = { bundle: name };
  const witness = { user: name, host: name, at: 'x', tool: 'x' };
  const page = renderEvidence({ ...makeReport('verify', items, {}, []), verdict: 'BAD', facts }, witness);
  // The page itself lets nothing measure it.
  const measure = '<script>document.title = document.documentElement.scrollWidth - innerWidth</script>';
  await writeFile(at('wide.html'), page.replace(/<meta http-equiv[^>]*>/, '').replace('</body>', `${measure}</body>`));

  expect(textsOf(await browse('wide.html', '--window-size=800,1000', '--dump-dom'), 'title')).toEqual(['0']);
});
