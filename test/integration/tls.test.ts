import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MirrorError } from '../../src/core/errors.ts';
import { HttpClient, type HttpClientOptions } from '../../src/http/client.ts';
import { findHostTls } from '../../src/http/host-certificates.ts';
import { codeOf, failureOf } from '../support/failures.ts';
import { temporaryDirectory } from '../support/place.ts';
import { TestServer } from '../support/server.ts';
import { pem, serverTls } from '../support/tls.ts';

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const opened: { close(): Promise<unknown> }[] = [];

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close();
  await place[Symbol.asyncDispose]();
});

/** Answers every request with the name of the client, as its certificate has it. */
async function start(tls?: ReturnType<typeof serverTls>): Promise<TestServer> {
  const server = await TestServer.start(
    (request, response) => {
      const socket = request.socket as { getPeerCertificate?: () => { subject?: { CN?: string } } };
      response.end(socket.getPeerCertificate?.().subject?.CN ?? 'nobody');
      return true;
    },
    tls === undefined ? {} : { tls },
  );
  opened.push(server);
  return server;
}

/** Answers whatever comes with these bytes. */
async function startRaw(answer: Buffer | string): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.push({ close: () => new Promise((resolve) => server.close(resolve)) });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function client(options: Partial<HttpClientOptions> = {}): HttpClient {
  const made = new HttpClient({ userAgent: 'test', stallMs: 5000, ...options });
  opened.push(made);
  return made;
}

/** A client that looks for certificates in these directories below the test's own. */
function clientOf(...directories: string[]): HttpClient {
  return client({
    tlsOf: findHostTls(
      directories.map((name) => join(place.path, name)),
      () => Promise.resolve([]),
    ),
  });
}

async function get(http: HttpClient, url: string): Promise<string> {
  const response = await http.send({ method: 'GET', url: new URL(url), at: { side: 'source' } });
  return `${response.status} ${(await response.bytes()).toString()}`;
}

async function refusalOf(http: HttpClient, url: string): Promise<MirrorError> {
  const error = await failureOf(get(http, url));
  expect(error.at.side).toBe('source');
  return error;
}

/** Puts files of fixtures/tls into a certs.d directory. */
async function certificates(directory: string, host: string, files: Record<string, string>): Promise<void> {
  const path = join(place.path, directory, host);
  await mkdir(path, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
}

describe('a server with a certificate', () => {
  it('of an unknown authority is refused, which names that authority and --ca', async () => {
    const server = await start(serverTls());
    const error = await refusalOf(client(), server.url);

    expect(error.code).toBe('E_TLS');
    expect(error.message).toContain('sie-mirror test authority');
    expect(error.hint).toContain('--ca');
  });

  it('of an authority given with --ca is trusted', async () => {
    const server = await start(serverTls());

    expect(await get(client({ ca: pem('ca.pem') }), server.url)).toBe('200 nobody');
  });

  it('that has expired is refused, which says since when', async () => {
    const server = await start(serverTls('expired'));
    const error = await refusalOf(client({ ca: pem('ca.pem') }), server.url);

    expect(error.code).toBe('E_TLS');
    expect(error.message).toContain('2020-02-01');
  });

  it('for another name is refused, which says for which', async () => {
    const server = await start(serverTls('other-name'));
    const error = await refusalOf(client({ ca: pem('ca.pem') }), server.url);

    expect(error.code).toBe('E_TLS');
    expect(error.message).toContain('registry.example');
  });
});

describe('certs.d', () => {
  it('gives authorities to its own host and to no other', async () => {
    const [one, other] = [await start(serverTls()), await start(serverTls())];
    await certificates('certs.d', one.host, { 'ca.crt': pem('ca.pem') });
    const http = clientOf('certs.d');

    expect(await get(http, one.url)).toBe('200 nobody');
    expect(await codeOf(get(http, other.url))).toBe('E_TLS');
  });

  it('gives a client certificate to the host that wants one', async () => {
    const server = await start(serverTls('server', { clientAuthority: 'ca.pem' }));
    await certificates('certs.d', server.host, {
      'ca.crt': pem('ca.pem'),
      'client.cert': pem('client.pem'),
      'client.key': pem('client.key'),
    });

    expect(await get(clientOf('certs.d'), server.url)).toBe('200 importer');
  });

  it('may have the authority in one directory and the client certificate in another', async () => {
    const server = await start(serverTls('server', { clientAuthority: 'ca.pem' }));
    await certificates('etc', server.host, { 'ca.crt': pem('ca.pem') });
    await certificates('home', server.host, { 'a.cert': pem('client.pem'), 'a.key': pem('client.key') });

    expect(await get(clientOf('home', 'etc'), server.url)).toBe('200 importer');
  });

  it('keeps connections: one handshake serves all requests', async () => {
    const server = await start(serverTls());
    await certificates('certs.d', server.host, { 'ca.crt': pem('ca.pem') });
    const ports = new Set<number | undefined>();
    const counting = await TestServer.start(
      (request, response) => {
        ports.add(request.socket.remotePort);
        response.end();
        return true;
      },
      { tls: serverTls() },
    );
    opened.push(counting);
    await certificates('certs.d', counting.host, { 'ca.crt': pem('ca.pem') });
    const http = clientOf('certs.d');

    for (let time = 0; time < 3; time += 1) {
      await get(http, counting.url);
      await get(http, server.url);
    }

    expect(ports.size).toBe(1);
  });

  it.each<[string, Record<string, string>, string]>([
    ['a certificate without its key', { 'client.cert': 'client.pem' }, 'client.key'],
    ['a key without its certificate', { 'client.key': 'client.key' }, 'client.key'],
    ['an authority that is none', { 'ca.crt': 'client.key' }, 'ca.crt'],
    ['a key of another certificate', { 'client.cert': 'client.pem', 'client.key': 'server.key' }, 'client.key'],
  ])('with %s is refused by the name of the file', async (_, files, named) => {
    const texts = Object.fromEntries(Object.entries(files).map(([name, from]) => [name, pem(from)]));
    await certificates('certs.d', '127.0.0.1:9', texts);

    const error = await failureOf(get(clientOf('certs.d'), 'https://127.0.0.1:9'));

    expect(error.code).toBe('E_USAGE');
    expect(error.message).toContain(named);
  });

  it('is found by the port of HTTPS too, and under the name of Docker Hub', async () => {
    await certificates('certs.d', 'registry.example:443', { 'ca.crt': pem('ca.pem') });
    await certificates('certs.d', 'docker.io', { 'ca.crt': pem('ca.pem') });
    const find = findHostTls([join(place.path, 'certs.d')], () => Promise.resolve([]));

    expect(await find('registry.example')).toBeDefined();
    expect(await find('registry-1.docker.io')).toBeDefined();
    expect(await find('registry.example:5000')).toBeUndefined();
    expect(await find('registry.example')).toBe(await find('registry.example'));
  });
});

describe('the wrong protocol', () => {
  it('HTTPS to a server of plain HTTP is named, with --insecure-host', async () => {
    const server = await start();
    const error = await refusalOf(client(), `https://${server.host}`);

    expect(error.code).toBe('E_TLS');
    expect(error.hint).toContain(`--insecure-host ${server.host}`);
  });

  it('plain HTTP to a server of HTTPS that hangs up is named', async () => {
    const server = await start(serverTls());
    const error = await refusalOf(client(), `http://${server.host}`);

    expect(error.code).toBe('E_PROTOCOL');
    expect(error.message).toContain('HTTPS');
    expect(error.hint).toContain('--insecure-host');
  });

  it.each([
    ["as Go's servers say it", 'Client sent an HTTP request to an HTTPS server.\n'],
    ['as nginx says it', '<center>The plain HTTP request was sent to HTTPS port</center>'],
  ])('plain HTTP to a server of HTTPS is named %s', async (_, words) => {
    const host = await startRaw(`HTTP/1.1 400 Bad Request\r\ncontent-length: ${words.length}\r\n\r\n${words}`);

    expect((await refusalOf(client(), `http://${host}`)).code).toBe('E_PROTOCOL');
  });

  it('plain HTTP to a server of HTTPS is named where HEAD got no words', async () => {
    // As Go's servers do: one port, and HTTP gets an answer that says it is the wrong one.
    const secure = await start(serverTls());
    const port = Number(secure.host.split(':')[1]);
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (bytes: Buffer) => {
        if (bytes[0] !== 0x16) {
          socket.end('HTTP/1.0 400 Bad Request\r\n\r\n');
          return;
        }
        const onward = connect(port, '127.0.0.1', () => {
          onward.write(bytes);
          onward.pipe(socket).pipe(onward);
        });
        onward.on('error', () => {});
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    opened.push({ close: () => new Promise((resolve) => server.close(resolve)) });
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`);

    expect(await codeOf(client().send({ method: 'HEAD', url, at: {} }))).toBe('E_PROTOCOL');
  });

  it('leaves another bad request as it is', async () => {
    const host = await startRaw('HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nNO_DIGEST');

    expect(await get(client(), `http://${host}`)).toBe('400 NO_DIGEST');
  });

  it('is not taken for what only broke: a server of plain HTTP that hangs up', async () => {
    const host = await startRaw('');

    expect((await refusalOf(client(), `http://${host}`)).code).toBe('E_NETWORK');
  });

  it('is named when it is no HTTP at all', async () => {
    const host = await startRaw('220 mail.example ESMTP\r\n');

    expect((await refusalOf(client(), `http://${host}`)).code).toBe('E_PROTOCOL');
  });
});

/** A TLS record with a fatal alert: https://www.rfc-editor.org/rfc/rfc8446#section-6 */
const alert = (code: number): Buffer => Buffer.from([0x15, 3, 3, 0, 2, 2, code]);

it.each([
  ['handshake_failure', 40, /client certificate/],
  ['bad_certificate', 42, /client certificate/],
  ['certificate_required', 116, /client certificate/],
  ['protocol_version', 70, /refused the TLS handshake/],
])('a server that refuses with the alert %s is not said to speak plain HTTP', async (_, code, words) => {
  const host = await startRaw(alert(code));
  const error = await refusalOf(client(), `https://${host}`);

  expect(error.code).toBe('E_TLS');
  expect(error.message).toMatch(words);
  expect(error.hint ?? '').not.toContain('--insecure-host');
});
