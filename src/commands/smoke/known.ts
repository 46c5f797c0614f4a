import { MirrorError } from '../../core/errors.ts';
import { inBackticks, printable } from '../../core/text.ts';
import { isOfProfile, type SieHealth } from '../../sie/health.ts';
import type { SieModel } from '../../sie/models.ts';

/** @throws E_SMOKE for a profile that nobody configured, and for a worker of its own */
export function checkProfile(health: SieHealth | undefined, gpu: string, url: string): SieHealth {
  if (!health)
    throw new MirrorError(
      'E_SMOKE',
      `\`${url}\` is a worker of its own and no gateway: it does not say what GPU it has`,
      {
        hint: 'give the address of the gateway, or leave out `--gpu`',
      },
    );
  const configured = [...new Set([...health.configured, ...health.live])];
  if (!configured.some((profile) => isOfProfile({ profile }, gpu)))
    throw new MirrorError(
      'E_SMOKE',
      `the machine profile \`${gpu}\` is not configured; there are ${inBackticks(configured)}`,
      { hint: 'give one of them with `--gpu`' },
    );
  return health;
}

/** @throws E_NOT_FOUND for an id that the cluster does not list exactly: a wrong case would "load" for ever */
export function checkModel(id: string, models: readonly SieModel[]): SieModel {
  const found = models.find((model) => model.id === id || model.aliases.includes(id));
  if (found) return found;
  const ids = models.map((model) => model.id);
  const near = nearest(id, ids);
  throw new MirrorError('E_NOT_FOUND', `the cluster knows no model \`${id}\``, {
    hint:
      near.length > 0
        ? `did you mean ${near.map((name) => `\`${printable(name)}\``).join(' or ')}?`
        : `it knows ${inBackticks(ids.slice(0, 10))}${ids.length > 10 ? ', ...' : ''}`,
  });
}

/** Ids that differ in case only, else those that hold the name or are held by it. */
function nearest(id: string, known: readonly string[]): string[] {
  const wanted = id.toLowerCase();
  const sameButCase = known.filter((name) => name.toLowerCase() === wanted);
  if (sameButCase.length > 0) return sameButCase;
  const name = wanted.split('/').at(-1) ?? wanted;
  return known.filter((each) => each.toLowerCase().split('/').at(-1)?.includes(name)).slice(0, 3);
}
