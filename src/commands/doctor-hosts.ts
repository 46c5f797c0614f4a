import { lookup } from 'node:dns/promises';
import { type MirrorError, toMirrorError } from '../core/errors.ts';
import type { FaultId } from '../doctor/faults.ts';
import { faultAt, type Finding, type Layer, ok } from '../doctor/finding.ts';
import type { Context } from './context.ts';

/** S3 refuses signatures that are a quarter of an hour off, tokens and certificates sooner. */
const clockLimitMs = 5 * 60_000;

/** What asking each host taught of this machine's clock. */
export class Hosts {
  readonly #context: Context;
  readonly #offsets = new Map<string, number>();

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * Asks an address once, without credentials: whatever it answers, it is there.
   * @returns why not
   */
  async reach(url: URL, method: 'GET' | 'HEAD' = 'GET'): Promise<MirrorError | undefined> {
    try {
      const response = await this.#context.http.send({ method, url, at: {}, follow: false });
      const date = Date.parse(response.headers['date'] ?? '');
      if (!Number.isNaN(date)) this.#offsets.set(url.host, date - Date.now());
      await response.discard();
      return undefined;
    } catch (error) {
      const known = toMirrorError(error);
      if (known.code === 'E_ABORTED' || known.code === 'E_INTERNAL' || known.code === 'E_USAGE') throw known;
      return known;
    }
  }

  /** This machine's clock against those of the hosts that were asked. */
  clock(): Finding[] {
    if (this.#offsets.size === 0) return [];
    const all = [...this.#offsets];
    const wrong = all.filter(([, offset]) => Math.abs(offset) > clockLimitMs);
    const [first] = wrong;
    if (!first) return [ok('tool', 'clock', `agrees with ${all.map(([host]) => `\`${host}\``).join(', ')}`)];
    const [host, offset] = first;
    const minutes = Math.round(Math.abs(offset) / 60_000);
    return [
      faultAt(
        'tool',
        'clock',
        'clock-off',
        `it is ${minutes} minutes ${offset > 0 ? 'behind' : 'ahead of'} \`${host}\``,
        wrong.length === all.length
          ? 'set it: sudo chronyc makestep, or sudo timedatectl set-time "YYYY-MM-DD HH:MM:SS"'
          : `see which is right: the other hosts agree with this machine, so set the clock of \`${host}\``,
      ),
    ];
  }
}

/** Why a host cannot be asked, by layer: its name, its address, or its certificate. */
export async function unreachable(
  layer: Layer,
  url: URL,
  error: MirrorError,
  ids: { unreachable: FaultId; tls: FaultId; setting: string },
): Promise<Finding> {
  if (error.code === 'E_TLS')
    return faultAt(layer, url.host, ids.tls, error.message, error.hint ?? 'name the authority with `--ca FILE`');
  const name = url.hostname;
  const resolves = await lookup(name).then(
    ({ address }) => address,
    () => undefined,
  );
  if (resolves === undefined && !/^\[|^[\d.]+$/.test(name))
    return faultAt(
      layer,
      url.host,
      ids.unreachable,
      `the name \`${name}\` cannot be resolved`,
      `check ${ids.setting}; then: getent hosts ${name}`,
    );
  return faultAt(
    layer,
    url.host,
    ids.unreachable,
    error.message,
    `check ${ids.setting} and the firewall; then: curl -v ${url.origin}`,
  );
}
