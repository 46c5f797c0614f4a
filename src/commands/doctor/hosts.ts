import { inBackticks } from '../../core/text.ts';
import { lookup } from 'node:dns/promises';
import { endsRun, type MirrorError, toMirrorError } from '../../core/errors.ts';
import { faultAt, type Finding, ok } from '../../doctor/finding.ts';
import { steps } from '../../doctor/names.ts';
import type { Context } from '../context.ts';

/** S3 refuses signatures that are a quarter of an hour off, tokens and certificates sooner. */
const clockLimitMs = 5 * 60_000;

/** What asking each host taught of this machine's clock. */
export class Hosts {
  readonly #context: Context;
  readonly #offsets = new Map<string, number>();
  readonly #regions = new Map<string, string>();

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
      const region = response.headers['x-amz-bucket-region'];
      if (region !== undefined) this.#regions.set(url.host, region);
      await response.discard();
      return undefined;
    } catch (error) {
      const known = toMirrorError(error);
      if (endsRun(known) || known.code === 'E_USAGE') throw known;
      return known;
    }
  }

  /** The region that a store has named for a bucket: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html */
  region(host: string): string | undefined {
    return this.#regions.get(host);
  }

  /** This machine's clock against those of the hosts that were asked. */
  clock(): Finding[] {
    if (this.#offsets.size === 0) return [];
    const all = [...this.#offsets];
    const wrong = all.filter(([, offset]) => Math.abs(offset) > clockLimitMs);
    const [first] = wrong;
    if (!first) return [ok('tool', 'clock', `agrees with ${inBackticks(all.map(([host]) => host))}`)];
    const [host, offset] = first;
    const minutes = Math.round(Math.abs(offset) / 60_000);
    return [
      faultAt(
        'tool',
        'clock',
        'clock-off',
        `it is ${minutes} minutes ${offset > 0 ? 'behind' : 'ahead of'} \`${host}\``,
        wrong.length === all.length
          ? setClock(offset)
          : `the other hosts agree with this machine, so that of \`${host}\` is wrong; there: ${setClock(-offset)}`,
      ),
    ];
  }
}

/** @param offset milliseconds by which the clock is behind */
function setClock(offset: number): string {
  const minutes = Math.round(Math.abs(offset) / 60_000);
  return steps(
    `sudo date -s '${minutes} minutes${offset > 0 ? '' : ' ago'}'`,
    "so that it stays right, have it follow the zone's time server, in /etc/chrony/chrony.conf or /etc/systemd/timesyncd.conf",
  );
}

const hostFaults = {
  bucket: { unreachable: 'bucket-unreachable', tls: 'bucket-tls' },
  registry: { unreachable: 'registry-unreachable', tls: 'registry-tls' },
  cluster: { unreachable: 'kube-unreachable', tls: 'kube-unreachable' },
  gateway: { unreachable: 'gateway-unreachable', tls: 'gateway-tls' },
} as const;

/**
 * Why a host cannot be asked, by layer: its name, its address, or its certificate.
 * @param change what to do when the address is the wrong one
 */
export async function unreachable(
  layer: keyof typeof hostFaults,
  url: URL,
  error: MirrorError,
  change: string,
): Promise<Finding> {
  const { unreachable: fault, tls } = hostFaults[layer];
  if (error.code === 'E_TLS') return faultAt(layer, url.host, tls, error.message, trustSteps(url, error.hint));
  const name = url.hostname;
  const resolves = await lookup(name).then(
    ({ address }) => address,
    () => undefined,
  );
  if (resolves === undefined && !/^\[|^[\d.]+$/.test(name))
    return faultAt(
      layer,
      url.host,
      fault,
      `the name \`${name}\` cannot be resolved`,
      steps(
        change,
        `or have the name entered in the zone's DNS, or here: echo "ADDRESS ${name}" | sudo tee -a /etc/hosts`,
        `this has to give its address then: getent hosts ${name}`,
      ),
    );
  return faultAt(
    layer,
    url.host,
    fault,
    error.message,
    steps(
      change,
      `or have whoever keeps it start it, or open the firewall; this has to connect then: curl -v ${url.origin}`,
    ),
  );
}

/** What helps against a certificate that is not trusted, or what was said of one that is wrong in another way. */
export function trustSteps(url: URL, hint: string | undefined): string {
  if (hint !== undefined && !hint.includes('--ca')) return hint;
  const port = url.port === '' ? '443' : url.port;
  return steps(
    'get the authority of the zone as a PEM file from whoever issues its certificates, and name it in every command: --ca CA_FILE',
    `which one it is, says: openssl s_client -connect ${url.hostname}:${port} -showcerts </dev/null`,
  );
}
