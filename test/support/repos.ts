import type { RepoFiles } from './hub-repo.ts';

/** How a built repository differs from the smallest one. */
export interface TinyModelOptions {
  /** Bytes of tensor data in model.safetensors, rounded down to whole rows of 32; default 4096. */
  weightsBytes?: number;
  /** Adds so many small files in sub-folders. */
  manySmall?: number;
  /** Adds a file whose name has letters beyond ASCII, a space and a plus. */
  nonAscii?: boolean;
}

/** Numbers of a tensor's last dimension. */
const DIM = 8;

/** Files of a small model that looks like one of sentence-transformers; the same seed gives the same bytes. */
export function tinyModel(seed: number, options: TinyModelOptions = {}): RepoFiles {
  const words = seededWords(seed, 40);
  const files: RepoFiles = {
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n',
    '1_Pooling/config.json': json({ word_embedding_dimension: DIM, pooling_mode_mean_tokens: true }),
    'README.md': `---\nlicense: mit\nlibrary_name: sentence-transformers\n---\n# Tiny model ${seed}\n`,
    'assets/.gitkeep': '',
    'config.json': json({
      model_type: 'bert',
      architectures: ['BertModel'],
      hidden_size: DIM,
      vocab_size: words.length,
    }),
    'config_sentence_transformers.json': json({ prompts: {}, similarity_fn_name: 'cosine' }),
    'model.safetensors': safetensors(seed, options.weightsBytes ?? 4096),
    'modules.json': json([
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
    ]),
    'sentence_bert_config.json': json({ max_seq_length: 32, do_lower_case: false }),
    'tokenizer.json': json(tokenizer(words)),
    'tokenizer_config.json': json({ tokenizer_class: 'BertTokenizer', model_max_length: 32 }),
    'vocab.txt': `${words.join('\n')}\n`,
  };
  for (let index = 0; index < (options.manySmall ?? 0); index += 1) {
    files[`extra/${String(index % 10)}/part-${String(index).padStart(5, '0')}.json`] = json({ seed, index });
  }
  if (options.nonAscii) files['assets/größe + 量.txt'] = `größe ${seed}\n`;
  return files;
}

/** A valid safetensors file: header length, header, then tensors without gaps. */
function safetensors(seed: number, dataBytes: number): Uint8Array {
  const rows = Math.max(2, Math.floor(dataBytes / (4 * DIM)));
  const rowBytes = 4 * DIM;
  const end = rows * rowBytes;
  const header = Buffer.from(
    JSON.stringify({
      __metadata__: { format: 'pt' },
      'embeddings.word_embeddings.weight': {
        dtype: 'F32',
        shape: [rows - 1, DIM],
        data_offsets: [0, end - rowBytes],
      },
      'pooler.dense.bias': { dtype: 'F32', shape: [DIM], data_offsets: [end - rowBytes, end] },
    }),
  );
  const padded = Math.ceil(header.length / 8) * 8;
  const file = Buffer.alloc(8 + padded + end, 0x20);
  file.writeBigUInt64LE(BigInt(padded));
  header.copy(file, 8);
  fillFloats(new Uint32Array(file.buffer, file.byteOffset + 8 + padded, end / 4), seed);
  return file;
}

/** Finite numbers between one and two: random bits alone would hold NaN. */
function fillFloats(target: Uint32Array, seed: number): void {
  const next = random(seed);
  for (let index = 0; index < target.length; index += 1) target[index] = 0x3f800000 | (next() >>> 9);
}

function tokenizer(words: string[]): Record<string, unknown> {
  return {
    version: '1.0',
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, index) => [word, index])),
    },
  };
}

function seededWords(seed: number, count: number): string[] {
  const next = random(seed);
  const words = Array.from({ length: count }, (_, index) => `w${index}${(next() >>> 0).toString(36)}`);
  return ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...words];
}

/** Marsaglia's xorshift: fast enough to fill a gibibyte, and the same everywhere. */
function random(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
