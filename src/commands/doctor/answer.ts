import type { MirrorError } from '../../core/errors.ts';
import type { FaultId } from '../../doctor/faults.ts';
import { faultAt, type Finding } from '../../doctor/finding.ts';
import { steps } from '../../doctor/names.ts';
import { trustSteps } from './hosts.ts';

/** How a gateway is reached that has no address outside of its cluster. */
export const forwardSteps = [
  'from outside of the cluster, in another terminal: kubectl -n NAMESPACE port-forward service/sie-gateway 8080',
  'and then: sie-mirror doctor --gateway http://127.0.0.1:8080',
];

/** What an address says of itself that does not answer as a gateway or worker of SIE does. @throws what is no matter of the answer */
export function answerFault(error: MirrorError, url: string): Finding {
  const at = (fault: FaultId, fix: string): Finding => faultAt('gateway', url, fault, error.message, fix);
  if (error.code === 'E_AUTH')
    return at(
      'gateway-denied',
      steps(
        'export SIE_AUTH_TOKEN=TOKEN',
        'the cluster has it in a secret, which the pod of the gateway names: kubectl -n NAMESPACE describe pods',
      ),
    );
  if (error.code === 'E_SMOKE' || error.code === 'E_PROTOCOL')
    return at(
      'gateway-other',
      steps(
        'a login page or another service answers there; the address of the gateway and its port: kubectl -n NAMESPACE get services',
        ...forwardSteps,
      ),
    );
  if (error.code === 'E_TLS') return at('gateway-tls', trustSteps(new URL(url), error.hint));
  if (error.code === 'E_NETWORK' || error.code === 'E_REMOTE')
    return at(
      'gateway-unreachable',
      steps('whether it runs: kubectl -n NAMESPACE get pods', 'why not: kubectl -n NAMESPACE describe pods'),
    );
  throw error;
}
