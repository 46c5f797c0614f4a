import type { Reporter } from '../../core/events.ts';
import type { ContentSource } from '../../core/ports.ts';
import type { HttpClient } from '../../http/client.ts';
import { directEndpoint } from '../../oci/access/access.ts';
import type { CredentialFinder } from '../../oci/access/credentials.ts';
import { HostFacts } from '../../oci/registry/host-facts.ts';
import { type ConfiguredHost, type HostConfiguration, type HostsOptions, readHosts } from '../../oci/access/hosts.ts';
import { type Candidate, MirroredRegistry } from '../../oci/registry/mirrored.ts';
import { Registry } from '../../oci/registry/registry.ts';
import { Warnings } from '../../oci/registry/warnings.ts';

type Side = 'source' | 'target';

export interface RegistriesOptions extends HostsOptions {
  http: HttpClient;
  credentials: CredentialFinder;
  report: Reporter;
}

/** Opens each registry once, with what hosts.toml says of it. */
export class Registries {
  readonly #options: RegistriesOptions;
  readonly #warnings: Warnings;
  readonly #configurations = new Map<string, Promise<HostConfiguration | undefined>>();
  readonly #registries = new Map<string, Promise<Registry>>();
  readonly #facts = new Map<string, HostFacts>();
  readonly #mirrored = new Map<string, Promise<Pick<MirroredRegistry, 'repository'>>>();

  constructor(options: RegistriesOptions) {
    this.#options = options;
    this.#warnings = new Warnings((text) => options.report({ type: 'warning', text }));
  }

  /** The registry itself: mirrors are not written to. @throws E_USAGE for a hosts.toml that cannot be read */
  async registry(host: string, side: Side): Promise<Registry> {
    return once(this.#registries, `${side} ${host}`, async () => {
      const configured = await this.#configuration(host);
      return this.#open(host, side, configured?.server);
    });
  }

  /** A repository to read from, by way of its registry's mirrors. @throws E_USAGE */
  async source(host: string, repository: string): Promise<ContentSource> {
    const registry = await once(this.#mirrored, host, async () => {
      const configured = await this.#configuration(host);
      const server = await this.registry(host, 'source');
      if (!configured || configured.mirrors.length === 0) return server;
      const mirrors = configured.mirrors.map((each) => candidate(this.#open(each.endpoint.host, 'source', each), each));
      return new MirroredRegistry(host, mirrors, candidate(server, configured.server), this.#options.report);
    });
    return registry.repository(repository);
  }

  #open(host: string, side: Side, configured: ConfiguredHost | undefined): Registry {
    const { http, credentials } = this.#options;
    // Both sides of a host share them, so that what is read from it can be mounted in it.
    const facts = this.#facts.get(host) ?? new HostFacts();
    this.#facts.set(host, facts);
    return new Registry(host, side, http, credentials, {
      facts,
      endpoint: configured?.endpoint,
      warnings: this.#warnings,
    });
  }

  async #configuration(host: string): Promise<HostConfiguration | undefined> {
    return once(this.#configurations, host, async () => {
      const configured = await readHosts(directEndpoint(host, this.#options.http), this.#options);
      for (const name of configured?.unchecked ?? [])
        this.#options.report({
          type: 'warning',
          text: `the certificate of \`${name}\` is not checked: its hosts.toml says \`skip_verify\``,
        });
      return configured;
    });
  }
}

async function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}

function candidate(registry: Registry, { resolves, pulls }: ConfiguredHost): Candidate {
  return { name: registry.host, repository: (name) => registry.repository(name), resolves, pulls };
}
