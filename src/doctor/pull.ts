import { printable } from '../core/text.ts';
import type { FaultId } from './faults.ts';
import { faultAt, type Finding } from './finding.ts';
import { publicRegistry, type SeenContainer, type SeenEvent, type SeenPod } from './pod.ts';
import { quoted } from './shell.ts';

/** What is known of the cluster's pull secrets: hosts by name; undefined for one that does not exist. */
export type PullSecrets = ReadonlyMap<string, readonly string[] | undefined>;

/** Where images of the zone are, by the receipt or by what was asked. */
export interface ImagePlaces {
  namespace: string;
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
      `sie-mirror copy SOURCE ${image} without \`--platform\` brings every platform; the node's is in: kubectl get nodes -L kubernetes.io/arch`,
    );
  if (/x509|certificate signed by unknown authority|server gave HTTP response to HTTPS client/i.test(words))
    return said(
      'pull-tls',
      `put the authority and the address of the registry into /etc/containerd/certs.d/${hostOf(image)}/hosts.toml on each node`,
    );
  const open = publicRegistry(image);
  if (open !== undefined) return said('public-image', publicFix(image, open, places));
  if (
    /\b40[13]\b|unauthori[sz]ed|authorization failed|no basic auth|access denied|authentication required|denied:/i.test(
      words,
    )
  )
    return secretFinding(pod, container, secrets, places, said);
  return notFoundFinding(image, words, pod.name, places, said);
}

/** How an image of a public registry is made to come from the internal one. */
export function publicFix(image: string, host: string, { images }: ImagePlaces): string {
  const [, repository = image] = /^[^/]*\.[^/]*\/(.*)$/.exec(image) ?? [];
  return `point the value of the chart at ${images ?? 'REGISTRY/PREFIX'}/${repository.replace(/^library\//, '')}; where the template has it hard-coded, mirror ${host} in /etc/containerd/certs.d/${host}/hosts.toml on each node`;
}

function secretFinding(
  pod: SeenPod,
  { image }: SeenContainer,
  secrets: PullSecrets,
  { namespace }: ImagePlaces,
  said: (fault: FaultId, fix: string) => Finding,
): Finding {
  const host = hostOf(image);
  const create = (name: string): string =>
    `kubectl -n ${namespace} create secret docker-registry ${quoted(name)} --docker-server=${host} --docker-username=USER --docker-password=PASSWORD`;
  const [first] = pod.pullSecrets;
  if (first === undefined)
    return said(
      'pull-secret-missing',
      `${create('regcred')}, and name it in the values: \`imagePullSecrets: [{name: regcred}]\``,
    );
  const gone = pod.pullSecrets.find((name) => secrets.has(name) && secrets.get(name) === undefined);
  if (gone !== undefined) return said('pull-secret-missing', create(gone));
  const hosts = pod.pullSecrets.flatMap((name) => secrets.get(name) ?? []);
  const known = pod.pullSecrets.some((name) => secrets.has(name));
  if (known && !hosts.includes(host))
    return said(
      'pull-secret-host',
      `kubectl -n ${namespace} delete secret ${quoted(first)} && ${create(first)} (it knows ${hosts.join(', ') || 'no registry'})`,
    );
  return said(
    'pull-denied',
    `kubectl -n ${namespace} delete secret ${quoted(first)} && ${create(first)}, with a user who may pull`,
  );
}

function notFoundFinding(
  image: string,
  words: string,
  podName: string,
  places: ImagePlaces,
  said: (fault: FaultId, fix: string) => Finding,
): Finding {
  const { targets, images } = places;
  const repository = image.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  const same = targets.filter((target) => target.startsWith(`${repository}:`));
  const name = repository.slice(repository.lastIndexOf('/') + 1);
  const alike = targets.filter((target) => target.includes(`/${name}:`));
  if (same.length > 0) return said('pull-tag', `use a tag that was imported: ${same.slice(0, 5).join(', ')}`);
  if (alike.length > 0)
    return said('pull-path', `the image was imported as ${alike.slice(0, 5).join(', ')}: set that in the values`);
  if (/name unknown|NAME_UNKNOWN|repository .*not found/i.test(words))
    return said(
      'pull-path',
      `sie-mirror import BUNDLE --images ${images ?? `${hostOf(image)}/PREFIX`}, or mend the path in the values`,
    );
  if (/not found|manifest unknown/i.test(words))
    return said(
      'pull-tag',
      `sie-mirror import BUNDLE --images ${images ?? `${hostOf(image)}/PREFIX`}, or use a tag that is there`,
    );
  return said('pull-failed', `kubectl -n ${places.namespace} describe pod ${podName} shows the whole of it`);
}

function hostOf(image: string): string {
  return image.split('/')[0] ?? image;
}

/** The end of what a container runtime says is where the reason stands. */
function shortened(words: string): string {
  const lines = words.split('\n').filter((each) => each !== '');
  // That it waits before it tries again is no reason.
  const line = lines.find((each) => !/^back-off/i.test(each)) ?? lines[0] ?? '';
  return printable(line.length > 300 ? `... ${line.slice(-290)}` : line);
}
