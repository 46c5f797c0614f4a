import { toMirrorError, MirrorError } from '../../core/errors.ts';
import type { Reporter } from '../../core/events.ts';
import type { SieClient } from '../../sie/client.ts';
import { isPoolName } from '../../sie/pools.ts';

/** SIE's own client renews as often; a lease lasts twenty minutes. */
const renewMs = 60_000;

/** @throws E_USAGE */
export function checkPoolName(name: string): void {
  if (!isPoolName(name))
    throw new MirrorError('E_USAGE', `\`${name}\` is no name of a pool`, {
      hint: 'letters, digits, `-`, `_` and `.`: `--pool smoke`, or with the machine profile `--gpu smoke/l4`',
    });
}

/**
 * A pool for the time of a run: its lease is renewed, and it is removed at the end, also of a run that was stopped.
 * @throws E_REFUSED for one that is there, and is somebody else's to remove; E_AUTH, E_NETWORK
 */
export async function withPool<T>(
  client: SieClient,
  pool: { name: string; gpus: Record<string, number> },
  report: Reporter,
  work: () => Promise<T>,
  everyMs = renewMs,
): Promise<T> {
  const { name, gpus } = pool;
  const warn = (what: string) => (error: unknown) =>
    report({ type: 'warning', text: `the pool \`${name}\` was not ${what}: ${toMirrorError(error).message}` });
  if (await client.pool(name))
    throw new MirrorError('E_REFUSED', `there is a pool \`${name}\` already`, {
      hint: 'leave out `--create-pool` to use it, or give the new one another name; one that a killed run has left ends by itself with its lease, after twenty minutes',
    });
  try {
    await client.createPool(name, gpus);
  } catch (error) {
    // Who is stopped does not hear whether it was made.
    if (['E_ABORTED', 'E_NETWORK'].includes(toMirrorError(error).code)) await client.deletePool(name).catch(() => {});
    throw error;
  }
  report({ type: 'note', text: `made the pool \`${name}\`` });
  const timer = setInterval(() => void client.renewPool(name).catch(warn('renewed')), everyMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await client
      .deletePool(name)
      .then(
        () => report({ type: 'note', text: `removed the pool \`${name}\`` }),
        warn('removed; its lease ends by itself'),
      );
  }
}
