import type { FaultId } from './faults.ts';
import { faultAt, type Finding, notSeen, ok, warningAt } from './finding.ts';
import { clusterCacheOf, lasting, steps } from './names.ts';
import type { SeenContainer, SeenPod } from './pod.ts';
import { quoted } from './shell.ts';

/** What the workers have to be told so that they read the mirror. */
export interface WantedSettings {
  /** Address of the models as the user gave it. */
  models?: string | undefined;
  /** Pools that other workers name. */
  pools?: readonly string[];
  /** A gateway runs beside the workers and gives them their work. */
  hasGateway?: boolean;
}

/**
 * The settings of a worker against those that work without the internet.
 */
export function settingsFindings(pod: SeenPod, container: SeenContainer, wanted: WantedSettings): Finding[] {
  const { name } = pod;
  const settings = new Settings(pod, container);
  const found = [
    ...settings.offline(),
    ...settings.clusterCache(wanted),
    ...settings.pool(wanted),
    ...settings.telemetry(),
  ];
  return found.length > 0
    ? found
    : [ok('cluster', `pod ${name}`, 'its settings are those that work without the internet')];
}

class Settings {
  readonly #name: string;
  readonly #container: SeenContainer;
  /** Places in the template that the pod was made from. */
  readonly #index: number;
  readonly #owner: string;
  readonly #setEnv: string;

  constructor(pod: SeenPod, container: SeenContainer) {
    this.#name = `pod ${pod.name}`;
    this.#container = container;
    this.#index = pod.containers.filter(({ init }) => !init).indexOf(container);
    this.#owner = pod.owner ?? 'WORKLOAD';
    this.#setEnv = `kubectl -n NAMESPACE set env ${this.#owner} -c ${container.name}`;
  }

  offline(): Finding[] {
    const offline = this.#isOn('HF_HUB_OFFLINE');
    const endpoint = this.#value('HF_ENDPOINT');
    if (endpoint !== undefined && offline)
      return [
        this.#warning(
          'offline-missing',
          '`HF_ENDPOINT` and `HF_HUB_OFFLINE` are both set: the endpoint is never asked',
          steps(
            `to read the bucket: ${this.#setEnv} HF_ENDPOINT-`,
            `to ask the endpoint: ${this.#setEnv} HF_HUB_OFFLINE-`,
          ),
        ),
      ];
    if (offline || endpoint !== undefined) return [];
    if (this.#hidden('HF_HUB_OFFLINE'))
      return [notSeen('cluster', `${this.#name}: HF_HUB_OFFLINE`, 'it may come from a config map or a secret')];
    const fix = steps(`${this.#setEnv} HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1`, lasting);
    if (this.#value('SIE_HF_FALLBACK') !== undefined && !this.#container.args.includes('--no-hf-fallback'))
      return [
        this.#fault(
          'fallback-ignored',
          '`SIE_HF_FALLBACK` is set, and `serve` without `--no-hf-fallback` overwrites it with `true`: the worker asks huggingface.co',
          fix,
        ),
      ];
    return [
      this.#fault(
        'offline-missing',
        'neither `HF_HUB_OFFLINE=1` nor `HF_ENDPOINT` is set: models with large vocabularies ask huggingface.co at load though every file is there',
        fix,
      ),
    ];
  }

  clusterCache({ models }: WantedSettings): Finding[] {
    const { args } = this.#container;
    const given = args.find((each) => each.startsWith('--cluster-cache'));
    const after = given === '--cluster-cache' ? args[args.indexOf(given) + 1] : given?.split('=')[1];
    const variable = this.#value('SIE_CLUSTER_CACHE');
    if (given === undefined && variable !== undefined)
      return [
        this.#fault(
          'cluster-cache-ignored',
          `\`SIE_CLUSTER_CACHE=${variable}\` is set and \`--cluster-cache\` is not given: \`serve\` deletes the variable then (charts before 0.7)`,
          steps(
            `kubectl -n NAMESPACE patch ${this.#owner} --type=json -p='[{"op":"add","path":"/spec/template/spec/containers/${this.#index}/args/-","value":"--cluster-cache=$(SIE_CLUSTER_CACHE)"}]'`,
            'again after each helm upgrade, as no value of these charts does it; or with the post-renderer that this writes: sie-mirror values RECEIPT --for sie --out deploy',
          ),
        ),
      ];
    if (given === undefined) {
      if (this.#value('HF_ENDPOINT') !== undefined) return [];
      return [
        this.#fault(
          'cluster-cache-missing',
          'neither `--cluster-cache` nor `SIE_CLUSTER_CACHE` is set',
          'sie-mirror values RECEIPT --for sie --out deploy && helm -n NAMESPACE upgrade RELEASE CHART --reuse-values -f deploy/sie/values-*.yaml --set workers.common.clusterCache.enabled=true --set workers.common.clusterCache.url=CACHE_URL',
        ),
      ];
    }
    const url = (after === '$(SIE_CLUSTER_CACHE)' ? variable : after)?.replace(/\/+$/, '');
    if (models === undefined || url === undefined || url === clusterCacheOf(models)) return [];
    return [
      this.#fault(
        'cluster-cache-elsewhere',
        `it reads \`${url}\`, the models are at \`${clusterCacheOf(models)}\``,
        steps(
          `now: ${after === '$(SIE_CLUSTER_CACHE)' ? `${this.#setEnv} SIE_CLUSTER_CACHE=CACHE_URL` : 'nothing but the next step, as the address stands in the arguments'}`,
          'so that it lasts: helm -n NAMESPACE upgrade RELEASE CHART --reuse-values --set workers.common.clusterCache.url=CACHE_URL',
        ),
      ),
    ];
  }

  /** A worker that no gateway gives work to needs no pool, unless it was told an empty one. */
  pool({ pools = [], hasGateway = false }: WantedSettings): Finding[] {
    const isSet = this.#container.env.has('SIE_POOL');
    const isQueued = hasGateway || this.#value('SIE_CLUSTER_ROUTING') === 'queue';
    if (this.#value('SIE_POOL') || !(isSet || isQueued)) return [];
    if (this.#hidden('SIE_POOL'))
      return [notSeen('cluster', `${this.#name}: SIE_POOL`, 'it may come from a config map or a secret')];
    return [
      this.#fault(
        'pool-missing',
        `\`SIE_POOL\` is ${isSet ? 'empty' : 'not set'}: the worker is listed as live, and the gateway answers 202 for ever`,
        steps(
          `${this.#setEnv} SIE_POOL=POOL`,
          'workers of one pool share its work: a name for those of one machine profile only',
          pools.length === 0 ? undefined : `other workers here name ${pools.map(quoted).join(', ')}`,
        ),
      ),
    ];
  }

  telemetry(): Finding[] {
    if (this.#isOn('SIE_TELEMETRY_DISABLED') || this.#isOn('DO_NOT_TRACK') || this.#hidden('SIE_TELEMETRY_DISABLED'))
      return [];
    return [
      this.#warning(
        'telemetry-on',
        'neither `SIE_TELEMETRY_DISABLED` nor `DO_NOT_TRACK` is set: it tries telemetry.superlinked.com every hour',
        steps(
          `${this.#setEnv} SIE_TELEMETRY_DISABLED=1`,
          'so that it lasts: helm -n NAMESPACE upgrade RELEASE CHART --reuse-values --set telemetry.enabled=false',
        ),
      ),
    ];
  }

  #fault(fault: FaultId, evidence: string, fix: string): Finding {
    return faultAt('cluster', this.#name, fault, evidence, fix);
  }

  #warning(fault: FaultId, evidence: string, fix: string): Finding {
    return warningAt('cluster', this.#name, fault, evidence, fix);
  }

  #value(name: string): string | undefined {
    return this.#container.env.get(name);
  }

  #hidden(name: string): boolean {
    const { env, envFrom } = this.#container;
    return env.has(name) ? env.get(name) === undefined : envFrom;
  }

  #isOn(name: string): boolean {
    return /^(?:1|on|yes|true)$/i.test(this.#value(name) ?? '');
  }
}
