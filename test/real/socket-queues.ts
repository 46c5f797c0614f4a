import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const listening = '0A';
const patienceMs = 10_000;

/**
 * Waits until both ends of connections to a loopback port have nothing queued in the kernel: what was sent has been read.
 * Linux only; gives up after ten seconds, when somebody does not read.
 *
 * @param clientPort of one connection; all of them without it
 */
export async function socketsDrained(port: number, clientPort?: number): Promise<void> {
  const end = Date.now() + patienceMs;
  while (Date.now() < end && (await queued(port, clientPort))) await sleep(10);
}

/** https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt */
async function queued(port: number, clientPort: number | undefined): Promise<boolean> {
  const lines = (await readFile('/proc/net/tcp', 'latin1')).split('\n').slice(1);
  return lines.some((line) => {
    const [, local = '', remote = '', state, queues = ''] = line.trim().split(/\s+/);
    const ports = [local, remote].map((address) => Number.parseInt(address.split(':')[1] ?? '', 16));
    const concerned = ports.includes(port) && (clientPort === undefined || ports.includes(clientPort));
    return concerned && state !== listening && /[1-9A-F]/.test(queues);
  });
}
