import { endsRun, toMirrorError } from '../../core/errors.ts';
import { type Finding, type Layer, notSeen } from '../../doctor/finding.ts';

/** What stopped a look, where no fault stands for it. @throws E_ABORTED, E_USAGE and E_INTERNAL as they are */
export function stopped(layer: Layer, name: string, error: unknown): Finding {
  const known = toMirrorError(error);
  if (endsRun(known) || known.code === 'E_USAGE') throw known;
  return notSeen(layer, name, known.message, known.hint);
}

/**
 * Looks at one layer; an error that it did not expect is a finding of that layer, and what others found is kept.
 * @param place where to look; nowhere when undefined
 * @param sightOf what is seen when all that is known are these findings: that of a look that was stopped, or none
 * @throws as `stopped`
 */
export async function lookAt<T>(
  layer: Layer,
  place: string | undefined,
  look: (place: string) => Promise<T>,
  sightOf: (findings: Finding[]) => T,
): Promise<T> {
  if (place === undefined) return sightOf([]);
  try {
    return await look(place);
  } catch (error) {
    return sightOf([stopped(layer, place, error)]);
  }
}
