import { toMirrorError } from '../../core/errors.ts';
import { faultAt, type Finding, notSeen, ok } from '../../doctor/finding.ts';
import { hostOf, type SeenPod } from '../../doctor/pod.ts';
import { createPullSecret } from '../../doctor/pull.ts';
import { parseReference, wantedOf } from '../../oci/reference.ts';
import { Registry } from '../../oci/registry/registry.ts';
import { resilientSource } from '../../oci/registry/resilient.ts';
import type { Context } from '../context.ts';
import type { CheckedSecret } from './secrets.ts';

/** One pull secret at one registry, with an image that a pod pulls by it. */
interface Attempt {
  secret: string;
  host: string;
  image: string;
  checked: CheckedSecret;
}

/**
 * Asks registries for images with the credentials that the kubelet has for them.
 * @param given registries that may be asked: secrets of others stay where they are
 */
export async function tryPullSecrets(
  pods: readonly SeenPod[],
  secrets: ReadonlyMap<string, CheckedSecret | undefined>,
  given: ReadonlySet<string>,
  context: Context,
): Promise<Finding[]> {
  const attempts = new Map<string, Attempt>();
  for (const { pullSecrets, containers } of pods)
    for (const secret of pullSecrets)
      for (const { image } of containers) {
        const host = hostOf(image);
        const checked = secrets.get(secret);
        if (checked?.hosts.includes(host)) attempts.set(`${secret} ${host}`, { secret, host, image, checked });
      }
  return Promise.all(
    [...attempts.values()].map((each) =>
      given.has(each.host) ? tryOne(each, context) : Promise.resolve(notTried(each)),
    ),
  );
}

function notTried({ secret, host, image }: Attempt): Finding {
  return notSeen(
    'cluster',
    `secret ${secret}`,
    `whether its user may pull \`${image}\``,
    `to have \`${host}\` asked, give \`--images ${host}/PREFIX\``,
  );
}

async function tryOne({ secret, host, image, checked }: Attempt, context: Context): Promise<Finding> {
  const name = `secret ${secret}`;
  try {
    const reference = parseReference(image);
    const credentials = (at: string, repository: string) =>
      Promise.resolve(checked.credentials?.entryFor(at, repository));
    const registry = new Registry(host, 'source', context.http, credentials);
    await resilientSource(registry.repository(reference.repository), context.retry).resolve(wantedOf(reference));
    return ok('cluster', name, `its user may pull \`${image}\``);
  } catch (error) {
    const { code, message } = toMirrorError(error);
    if (code === 'E_AUTH')
      return faultAt(
        'cluster',
        name,
        'pull-denied',
        `\`${image}\`: ${message}`,
        `with a user who may pull: ${createPullSecret(secret, host)}`,
      );
    // Whether the image is there is told of the registry.
    if (code === 'E_NOT_FOUND') return ok('cluster', name, `\`${host}\` takes its user`);
    return notSeen('cluster', name, `whether its user may pull \`${image}\`: ${message}`);
  }
}
