import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { DelayLine } from './delay-line.ts';
import { socketsDrained } from './socket-queues.ts';

/** What happens to connections that have passed some bytes. */
export interface ProxyFault {
  /** The direction that counts: `down` is towards the client. */
  way: 'down' | 'up';
  afterBytes: number;
  /** The bytes of each connection by itself (default), or of all together. */
  of?: 'connection' | 'all';
  /** `reset` is a RST, `end` a clean FIN, `stall` is silence on an open connection. */
  how: 'reset' | 'end' | 'stall';
  /** How many connections it strikes; default every one. */
  times?: number;
}

export interface ProxyOptions {
  /** Added to each answer, and once more to a connection's first, which stands for its handshake. Default none. */
  roundTripMs?: number;
  fault?: ProxyFault;
}

/** A TCP proxy that makes a loopback server as far away and as frail as a real one, and counts what passes. */
export interface Proxy {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** Requests since the last call, as `GET /v2/`, in order. */
  takeRequests: () => string[];
  /** Bytes towards the client since the last call, heads included. */
  takeBytesDown: () => number;
  /** Bytes towards the client until now. */
  bytesDown: () => number;
  /** Replaces the fault; connections that are open are struck too. */
  setFault: (fault: ProxyFault | undefined) => void;
  /** Waits until clients have read all that was sent to them. */
  drained: () => Promise<void>;
  close: () => Promise<void>;
}

const flyingLimit = 4 * 1024 * 1024;

export async function startProxy(target: string, options: ProxyOptions = {}): Promise<Proxy> {
  const [host = '', port = ''] = target.split(':');
  const { roundTripMs = 0 } = options;
  const traffic = new Traffic(options.fault);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    for (const socket of [near, far]) keep(socket, sockets);
    const born = performance.now();
    near.on('data', (bytes: Buffer) => traffic.note(bytes));
    const up = (): number => Math.max(performance.now() + roundTripMs / 2, born + 1.5 * roundTripMs);
    const down = (): number => performance.now() + roundTripMs / 2;
    relay(near, far, traffic.filter('up', near, far), roundTripMs > 0 ? up : undefined);
    relay(far, near, traffic.filter('down', near, far), roundTripMs > 0 ? down : undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    takeRequests: () => traffic.requests.splice(0),
    takeBytesDown: () => traffic.takeDown(),
    bytesDown: () => traffic.passed.down,
    setFault: (fault) => traffic.setFault(fault),
    drained: () => socketsDrained((server.address() as AddressInfo).port),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** `GET 3, HEAD 1`. */
export function methodCounts(requests: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const request of requests) {
    const [method = ''] = request.split(' ');
    counts.set(method, (counts.get(method) ?? 0) + 1);
  }
  return [...counts].map(([method, number]) => `${method} ${number}`).join(', ') || 'none';
}

/** Lets bytes pass until the fault strikes. */
class Traffic {
  readonly requests: string[] = [];
  readonly passed = { down: 0, up: 0 };
  #fault: ProxyFault | undefined;
  #struck = 0;
  #taken = 0;

  constructor(fault: ProxyFault | undefined) {
    this.#fault = fault;
  }

  setFault(fault: ProxyFault | undefined): void {
    this.#fault = fault;
    this.#struck = 0;
  }

  takeDown(): number {
    const count = this.passed.down - this.#taken;
    this.#taken = this.passed.down;
    return count;
  }

  note(bytes: Buffer): void {
    for (const [, request = ''] of bytes
      .toString('latin1')
      .matchAll(/(?:^|\n)((?:GET|HEAD|PUT|POST|PATCH|DELETE) \S+) HTTP\/1\.1\r\n/g))
      this.requests.push(request);
  }

  /** Gives what of the bytes may pass. */
  filter(way: ProxyFault['way'], near: Socket, far: Socket): (bytes: Buffer) => Buffer {
    let mine = 0;
    let dead = false;
    return (bytes) => {
      if (dead) return bytes.subarray(0, 0);
      const fault = this.#fault;
      const before = fault?.of === 'all' ? this.passed[way] : mine;
      const struck = fault?.way === way && before + bytes.length >= fault.afterBytes && this.#mayStrike(fault);
      const part = struck ? bytes.subarray(0, Math.max(0, fault.afterBytes - before)) : bytes;
      mine += part.length;
      this.passed[way] += part.length;
      if (struck) {
        dead = true;
        this.#strike(fault, near, far);
      }
      return part;
    };
  }

  #mayStrike({ times = Infinity }: ProxyFault): boolean {
    this.#struck += 1;
    return this.#struck <= times;
  }

  #strike({ how }: ProxyFault, near: Socket, far: Socket): void {
    if (how === 'stall') return;
    far.pause();
    const cut = async (): Promise<void> => {
      // A reset throws away what has been sent and not yet received, which would count as passed.
      if (near.writableNeedDrain) await once(near, 'drain').catch(() => undefined);
      await socketsDrained(near.localPort ?? 0, near.remotePort);
      if (how === 'reset') near.resetAndDestroy();
      else near.end();
      far.destroy();
    };
    // The last bytes are written when the filter has returned them.
    setImmediate(() => void cut());
  }
}

function keep(socket: Socket, sockets: Set<Socket>): void {
  sockets.add(socket);
  socket.setNoDelay(true);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => socket.destroy());
}

/** Passes bytes and the end on, when they are due; pauses the sender while too much is on its way. */
function relay(from: Socket, to: Socket, filter: (bytes: Buffer) => Buffer, due: (() => number) | undefined): void {
  if (!due) {
    from.on('data', (bytes: Buffer) => {
      const part = filter(bytes);
      if (part.length === 0 || !to.writable || to.write(part)) return;
      from.pause();
      to.once('drain', () => from.resume());
    });
    from.on('end', () => to.end());
    from.on('close', () => to.destroySoon());
    return;
  }
  const line = new DelayLine();
  let flying = 0;
  from.on('data', (bytes: Buffer) => {
    const part = filter(bytes);
    flying += part.length;
    if (flying > flyingLimit) from.pause();
    line.add(due(), () => {
      if (to.writable) to.write(part);
      flying -= part.length;
      if (flying <= flyingLimit) from.resume();
    });
  });
  from.on('end', () => line.add(due(), () => to.end()));
  from.on('close', () => line.add(due(), () => to.destroy()));
}
