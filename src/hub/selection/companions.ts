import { printable } from '../../core/text.ts';
import { codeNamesIn } from '../code-names.ts';
import { isRepoName, isRevision } from '../repo.ts';
import { patternOf } from './fnmatch.ts';

/** A repo that a file of another one names, and that a loader would fetch. */
export interface Companion {
  repo: string;
  revision: string;
  /** Path of the key in the file, with dots. */
  key: string;
  /** What a loader reads of it. */
  need: CompanionNeed;
  /** Only what is in this folder. */
  folder?: string;
}

/** `code`: Python modules; `tokenizer`: no weights; `voices`: arrays of NumPy. */
export type CompanionNeed = 'repo' | 'code' | 'tokenizer' | 'voices';

/** Patterns of the files that a loader reads of a companion; none means all. */
export function filesWanted({ need, folder }: Companion): readonly string[] {
  return folder === undefined ? filesOfNeed[need] : [`${patternOf(folder)}/*`];
}

const filesOfNeed: Record<CompanionNeed, readonly string[]> = {
  repo: [],
  code: ['*.py'],
  tokenizer: ['*.json', '*.txt', '*.model', '*.jinja', '*.tiktoken', '*.bpe', '*.vocab', '*.py'],
  voices: ['*.npy'],
};

type Reader = (document: Record<string, unknown>) => (Companion | undefined)[];

/** By file name: where each kind of file names other repos. */
const readers: Record<string, Reader> = {
  // https://huggingface.co/docs/transformers/custom_models : `ORG/NAME--module.Class`
  'config.json': (document) => [
    ...remoteCode(document),
    // Jina CLIP builds its text tower by the configuration and the code of another repo.
    named(inside(document, 'text_config'), 'hf_model_name_or_path', 'tokenizer', undefined, 'text_config.'),
    // GLiClass keeps its backbones here.
    named(document, 'encoder_model_name'),
    named(document, 'label_model_name'),
  ],
  'tokenizer_config.json': (document) => remoteCode(document),
  'processor_config.json': (document) => [
    ...remoteCode(document),
    named(inside(document, 'audio_tokenizer'), 'audio_tokenizer_name_or_path', 'repo', undefined, 'audio_tokenizer.'),
  ],
  // https://huggingface.co/docs/transformers/model_doc/dia
  'audio_tokenizer_config.json': (document) => [named(document, 'audio_tokenizer_name_or_path')],
  // https://huggingface.co/docs/transformers/model_doc/bark
  'speaker_embeddings_path.json': (document) => [named(document, 'repo_or_path', 'voices')],
  'preprocessor_config.json': (document) => remoteCode(document),
  'video_preprocessor_config.json': (document) => remoteCode(document),
  // https://huggingface.co/docs/peft/package_reference/config
  'adapter_config.json': (document) => [named(document, 'base_model_name_or_path', 'repo', document['revision'])],
  'gliner_config.json': (document) => [
    named(document, 'model_name'),
    named(document, 'labels_encoder'),
    named(document, 'labels_decoder'),
  ],
  'glirel_config.json': (document) => [named(document, 'model_name'), named(document, 'labels_encoder')],
  'open_clip_config.json': (document) => {
    const text = inside(document, 'model_cfg', 'text_cfg');
    return [
      named(text, 'hf_tokenizer_name', 'tokenizer', undefined, 'model_cfg.text_cfg.'),
      named(text, 'hf_model_name', 'tokenizer', undefined, 'model_cfg.text_cfg.'),
    ];
  },
  // https://sbert.net/docs/sentence_transformer/usage/custom_models.html
  'modules.json': (document) =>
    Object.entries(document).map(([index, module]) => codeReference(asRecord(module)['type'], `${index}.type`)),
  'router_config.json': (document) =>
    Object.entries(inside(document, 'types')).map(([name, type]) => codeReference(type, `types.${printable(name)}`)),
  // https://huggingface.co/docs/diffusers/modular_diffusers/modular_pipeline
  'modular_model_index.json': (document) => Object.entries(document).flatMap(([name, value]) => component(name, value)),
  'sentence_bert_config.json': (document) => [named(document, 'tokenizer_name_or_path', 'tokenizer')],
};

/** Whether a file may name other repos. */
export function namesCompanions(path: string): boolean {
  return Object.hasOwn(readers, baseName(path));
}

/** Repos that a file names: local paths and what could not be a repo are left out, and so is the repo itself. */
export function companionsNamedBy(repo: string, path: string, document: unknown): Companion[] {
  const found = readers[baseName(path)]?.(asRecord(document)) ?? [];
  return found.filter((companion) => companion !== undefined).filter((companion) => companion.repo !== repo);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The revision is that of the code of models, and of no pipeline's. */
function remoteCode(document: Record<string, unknown>): (Companion | undefined)[] {
  const revision = document['code_revision'];
  return codeNamesIn(document).map(({ key, value }) =>
    codeReference(value, key, key.startsWith('custom_pipelines.') ? undefined : revision),
  );
}

function codeReference(value: unknown, key: string, revision?: unknown): Companion | undefined {
  if (typeof value !== 'string' || !value.includes('--')) return undefined;
  return companion(value.slice(0, value.indexOf('--')), key, 'code', revision);
}

/** `[library, class, how it is loaded]`: one part of a pipeline, from a folder of this repo or another one. */
function component(name: string, value: unknown): (Companion | undefined)[] {
  const spec = asRecord(Array.isArray(value) ? value[2] : undefined);
  const [key = '', repos] =
    Object.entries(spec).find(([each]) => /^(?:pretrained_model_name_or_path|repo)$/.test(each)) ?? [];
  const { subfolder, revision } = spec;
  const folder = typeof subfolder === 'string' && subfolder !== '' ? { folder: subfolder } : {};
  return [repos].flat().map((repo) => {
    const found = typeof repo === 'string' ? companion(repo, `${printable(name)}.${key}`, 'repo', revision) : undefined;
    return found && { ...found, ...folder };
  });
}

function named(
  document: Record<string, unknown>,
  key: string,
  need: CompanionNeed = 'repo',
  revision?: unknown,
  above = '',
): Companion | undefined {
  const value = document[key];
  return typeof value === 'string' ? companion(value, `${above}${key}`, need, revision) : undefined;
}

function companion(repo: string, key: string, need: CompanionNeed, revision: unknown): Companion | undefined {
  if (!isRepoName(repo)) return undefined;
  const isGiven = typeof revision === 'string' && isRevision(revision);
  return { repo, revision: isGiven ? revision : 'main', key, need };
}

function inside(document: Record<string, unknown>, ...keys: string[]): Record<string, unknown> {
  return keys.reduce((found, key) => asRecord(found[key]), document);
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
