import type { SieModel } from './models.ts';

/** Models of SIE 0.3 to 0.10 whose id is not the repo of their weights: `sie_id` and `hf_id` in its catalogue. */
const otherWeights: Readonly<Record<string, string>> = {
  docling: 'superlinked/docling-artifacts',
  'nvidia/NV-Embed-v2': 'Hyukkyu/nv-embed-v2',
  'sugiv/stablebridge-pruner-highlighter': 'BAAI/bge-reranker-v2-m3',
  'superlinked/pii-redact': 'urchade/gliner_multi_pii-v1',
};

/** The repo that a model's weights are of: mostly its id, without the profile that may follow it (`BAAI/bge-m3:sparse`). */
export function weightsOf(id: string): string {
  return otherWeights[id] ?? id.replace(/:[^/:]+$/, '');
}

/**
 * The ids under which a cluster serves the weights of a repo: the repo itself, the model that has it as another name, those of
 * the catalogue whose weights it is, or, where only profiles are served, all of these.
 */
export function servedAs(repo: string, known: readonly Pick<SieModel, 'id' | 'aliases'>[]): string[] {
  const same = known.filter(({ id, aliases }) => id === repo || aliases.includes(repo));
  const found = same.length > 0 ? same : known.filter(({ id }) => weightsOf(id) === repo);
  const whole = found.filter(({ id }) => !/:[^/:]+$/.test(id));
  return (whole.length > 0 ? whole : found).map(({ id }) => id);
}

/** An id that differs from the repo in case only: it is another model, whose weights are looked for elsewhere. */
export function sameButCase(repo: string, known: readonly Pick<SieModel, 'id'>[]): string | undefined {
  return known.find(({ id }) => id !== repo && id.toLowerCase() === repo.toLowerCase())?.id;
}
