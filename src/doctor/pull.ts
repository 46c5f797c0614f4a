import { inBackticks, printable } from '../core/text.ts';
import type { FaultId } from './faults.ts';
import { faultAt, type Finding } from './finding.ts';
import { importImages, lasting, steps } from './names.ts';
import { hostOf, publicRegistry, type SeenContainer, type SeenEvent, type SeenPod } from './pod.ts';
import { quoted } from './shell.ts';

/** What is known of the cluster's pull secrets: hosts by name; undefined for one that does not exist. */
export type PullSecrets = ReadonlyMap<string, readonly string[] | undefined>;

/** Where images of the zone are, by the receipt or by what was asked. */
export interface ImagePlaces {
  /** Host and prefix of the internal registry. */
  images?: string | undefined;
  /** `registry/repository:tag` of each imported image. */
  targets: readonly string[];
}

const pullReasons = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'RegistryUnavailable',
]);

/** Whether a container waits for an image that does not come. */
export function failsToPull({ waiting }: SeenContainer): boolean {
  return waiting !== undefined && pullReasons.has(waiting.reason);
}

/** Which of secret, path, platform and tag it is: by the words of the container runtime, the secrets, and what was imported. */
export function pullFinding(
  pod: SeenPod,
  container: SeenContainer,
  events: readonly SeenEvent[],
  secrets: PullSecrets,
  places: ImagePlaces,
): Finding {
  const { image } = container;
  const words = [
    container.waiting?.message ?? '',
    ...events.filter((event) => event.pod === pod.name && event.message.includes(image)).map(({ message }) => message),
  ].join('\n');
  const said = (fault: FaultId, fix: string): Finding =>
    faultAt('cluster', `pod ${pod.name}`, fault, `\`${image}\`: ${shortened(words) || container.waiting?.reason}`, fix);
  if (/no match for platform/i.test(words))
    return said(
      'pull-platform',
      steps(
        'see what platform the node has: kubectl get nodes -L kubernetes.io/arch',
        'on the online side take `platforms:` out of the entry of this image in the mirror manifest, or add that platform; then: sie-mirror pull MANIFEST && sie-mirror bundle --out MEDIUM',
        `with what that made: ${importImages}`,
      ),
    );
  if (/x509|certificate signed by unknown authority|server gave HTTP response to HTTPS client/i.test(words))
    return said('pull-tls', trustFix(hostOf(image), /HTTP response to HTTPS/i.test(words)));
  const open = publicRegistry(image);
  if (open !== undefined) return said('public-image', publicFix(image, open));
  if (
    /\b40[13]\b|unauthori[sz]ed|authorization failed|no basic auth|access denied|authentication required|denied:/i.test(
      words,
    )
  )
    return secretFinding(pod, container, secrets, said);
  return notFoundFinding(pod, container, words, places, said);
}

/** What containerd on a node is told of the zone's registry: https://github.com/containerd/containerd/blob/main/docs/hosts.md */
function trustFix(host: string, isPlain: boolean): string {
  const text = isPlain
    ? `server = "http://${host}"`
    : `server = "https://${host}"\nca = "/etc/containerd/certs.d/${host}/ca.pem"`;
  const directory = `/etc/containerd/certs.d/${host}`;
  return steps(
    `on each node: sudo mkdir -p ${directory}`,
    isPlain ? undefined : `on each node, with the authority of the registry: sudo cp CA_FILE ${directory}/ca.pem`,
    `on each node: printf '${text.replaceAll('\n', '\\n')}\\n' | sudo tee ${directory}/hosts.toml`,
    '`config_path = "/etc/containerd/certs.d"` has to stand in /etc/containerd/config.toml; only that needs: sudo systemctl restart containerd',
  );
}

/** How an image of a public registry is made to come from the internal one. */
export function publicFix(image: string, host: string): string {
  const [, repository = image] = /^[^/]*\.[^/]*\/(.*)$/.exec(image) ?? [];
  return steps(
    `where a value of the chart names it: set that to IMAGES_PLACE/${repository.replace(/^library\//, '')}; values for all that was imported: sie-mirror values RECEIPT --for sie,containerd --out deploy`,
    `where a template has it hard-coded, on each node: sudo cp -r deploy/containerd/certs.d/${host} /etc/containerd/certs.d/`,
  );
}

/** Makes a pull secret, or writes over it. */
export function createPullSecret(name: string, host: string): string {
  return `kubectl -n NAMESPACE create secret docker-registry ${quoted(name)} --docker-server=${host} --docker-username=USER --docker-password=PASSWORD --dry-run=client -o yaml | kubectl -n NAMESPACE apply -f -`;
}

function secretFinding(
  pod: SeenPod,
  { image }: SeenContainer,
  secrets: PullSecrets,
  said: (fault: FaultId, fix: string) => Finding,
): Finding {
  const host = hostOf(image);
  const create = (name: string): string => createPullSecret(name, host);
  const [first] = pod.pullSecrets;
  if (first === undefined)
    return said(
      'pull-secret-missing',
      steps(
        create('regcred'),
        `have the pods name it: kubectl -n NAMESPACE patch serviceaccount ${pod.serviceAccount} -p '{"imagePullSecrets":[{"name":"regcred"}]}'`,
        again(pod),
      ),
    );
  const gone = pod.pullSecrets.find((name) => secrets.has(name) && secrets.get(name) === undefined);
  if (gone !== undefined) return said('pull-secret-missing', steps(create(gone), again(pod)));
  const hosts = pod.pullSecrets.flatMap((name) => secrets.get(name) ?? []);
  const known = pod.pullSecrets.some((name) => secrets.has(name));
  if (known && !hosts.includes(host))
    return said(
      'pull-secret-host',
      steps(`it is for ${inBackticks(hosts, 'no registry')}, \`${host}\` is wanted: ${create(first)}`, again(pod)),
    );
  return said('pull-denied', steps(`with a user who may pull: ${create(first)}`, again(pod)));
}

/** The kubelet waits longer from time to time. */
function again({ name }: SeenPod): string {
  return `so that it is pulled at once: kubectl -n NAMESPACE delete pod ${name}`;
}

function notFoundFinding(
  pod: SeenPod,
  { image, name: container }: SeenContainer,
  words: string,
  { targets }: ImagePlaces,
  said: (fault: FaultId, fix: string) => Finding,
): Finding {
  const repository = image.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  const same = targets.filter((target) => target.startsWith(`${repository}:`));
  const name = repository.slice(repository.lastIndexOf('/') + 1);
  const alike = targets.filter((target) => target.includes(`/${name}:`));
  const use = (found: readonly string[]): string =>
    steps(
      found.length > 1 ? `imported were ${found.slice(0, 5).join(', ')}` : undefined,
      `kubectl -n NAMESPACE set image ${pod.owner ?? 'WORKLOAD'} ${container}=${found[0] ?? ''}`,
      lasting,
    );
  if (same.length > 0) return said('pull-tag', use(same));
  if (alike.length > 0) return said('pull-path', use(alike));
  const bring = steps(importImages, `then: kubectl -n NAMESPACE delete pod ${pod.name}`);
  if (/name unknown|NAME_UNKNOWN|repository .*not found/i.test(words)) return said('pull-path', bring);
  if (/not found|manifest unknown/i.test(words)) return said('pull-tag', bring);
  return said('pull-failed', `the whole of it: kubectl -n NAMESPACE describe pod ${pod.name}`);
}

/** The end of what a container runtime says is where the reason stands. */
function shortened(words: string): string {
  const lines = words.split('\n').filter((each) => each !== '');
  // That it waits before it tries again is no reason.
  const line = lines.find((each) => !/^back-off/i.test(each)) ?? lines[0] ?? '';
  return printable(line.length > 300 ? `... ${line.slice(-290)}` : line);
}
