import { toMirrorError } from '../../core/errors.ts';
import { type Finding, type Layer, notSeen } from '../../doctor/finding.ts';

/** What stopped a look, where no fault stands for it. @throws E_ABORTED, E_USAGE and E_INTERNAL as they are */
export function stopped(layer: Layer, name: string, error: unknown): Finding {
  const known = toMirrorError(error);
  if (known.code === 'E_ABORTED' || known.code === 'E_USAGE' || known.code === 'E_INTERNAL') throw known;
  return notSeen(layer, name, known.message, known.hint);
}

/**
 * Looks at one layer; an error that it did not expect is a finding of that layer, and what others found is kept.
 * @param alone what stands for the look that was stopped
 * @throws as `stopped`
 */
export async function lookAt<T>(
  layer: Layer,
  name: string,
  look: () => Promise<T>,
  alone: (finding: Finding) => T,
): Promise<T> {
  try {
    return await look();
  } catch (error) {
    return alone(stopped(layer, name, error));
  }
}
