import { describe, expect, it } from 'vitest';
import { chooseFiles, type Filter } from '../../../src/hub/selection/filter.ts';
import { codeOfCall } from '../../support/failures.ts';

function choose(paths: readonly string[], filter: Partial<Filter>): Record<string, string> {
  const files = paths.map((path) => ({ path }));
  const choices = chooseFiles(files, { preset: 'all', include: [], exclude: [], ...filter });
  return Object.fromEntries(choices.map(({ file, place }) => [file.path, place]));
}

/** Paths that get into the snapshot. */
function kept(paths: readonly string[], filter: Partial<Filter>): string[] {
  return Object.entries(choose(paths, filter)).flatMap(([path, place]) => (place === 'snapshot' ? [path] : []));
}

const sie = { preset: 'sie' } as const;

describe('include and exclude', () => {
  const paths = ['a.json', 'b.bin', 'x/c.json', 'x/y/d.bin', 'back\\slash.json'];

  it('take everything when there are none', () => {
    expect(kept(paths, {})).toEqual(paths);
  });

  it('take what any pattern of include fits, and of that what none of exclude fits', () => {
    expect(kept(paths, { include: ['*.json', 'b.*'], exclude: ['x/*'] })).toEqual([
      'a.json',
      'b.bin',
      'back\\slash.json',
    ]);
  });

  it('read a folder as all that is in it', () => {
    expect(kept(paths, { include: ['x/'] })).toEqual(['x/c.json', 'x/y/d.bin']);
  });

  it('read a backslash as a slash, in patterns and in paths', () => {
    expect(kept(paths, { include: ['x\\y\\*', 'back/*'] })).toEqual(['x/y/d.bin', 'back\\slash.json']);
  });

  it('refuse an empty pattern', () => {
    expect(codeOfCall(() => choose(paths, { exclude: [''] }))).toBe('E_USAGE');
  });

  it('give a reason for each file', () => {
    const filter = { preset: 'sie', include: ['*'], exclude: ['*.bin'] } as const;
    for (const { reason } of chooseFiles(
      paths.map((path) => ({ path })),
      filter,
    ))
      expect(reason).not.toBe('');
  });
});

describe('the filter of SIE', () => {
  it('leaves out what a worker never fetches', () => {
    const never = [
      'docs/a/b.json',
      '.github/x',
      'model.onnx',
      'onnx/model.json',
      'optimizer.pt',
      'scheduler.pt',
      'trainer_state.json',
      'training_args.bin',
      'checkpoint-5/config.json',
    ];
    expect(kept([...never, 'config.json', 'x/scheduler.pt'], sie)).toEqual(['config.json', 'x/scheduler.pt']);
  });

  it('carries licences and model cards beside the snapshot', () => {
    const paths = ['README.md', 'LICENSE', 'LICENSE.txt', 'NOTICE.md', 'USE_POLICY.md', 'guide.md', 'NOTICE', 'a.json'];
    expect(choose(paths, sie)).toEqual({
      'README.md': 'notice',
      LICENSE: 'notice',
      'LICENSE.txt': 'notice',
      'NOTICE.md': 'notice',
      'USE_POLICY.md': 'notice',
      'guide.md': 'out',
      NOTICE: 'snapshot',
      'a.json': 'snapshot',
    });
  });

  it('leaves out legacy weights where safetensors stand beside them', () => {
    expect(kept(['model.safetensors', 'pytorch_model.bin', 'x.ckpt'], sie)).toEqual(['model.safetensors']);
    expect(kept(['model.safetensors.index.json', 'model-1.safetensors', 'pytorch_model.bin'], sie)).toEqual([
      'model.safetensors.index.json',
      'model-1.safetensors',
    ]);
  });

  it('keeps legacy weights of a folder that has no safetensors, which SIE would not', () => {
    const paths = [
      'model.safetensors',
      '2_Dense/pytorch_model.bin',
      '3_Dense/model.safetensors',
      '3_Dense/pytorch_model.bin',
    ];
    expect(kept(paths, sie)).toEqual(['model.safetensors', '2_Dense/pytorch_model.bin', '3_Dense/model.safetensors']);
  });

  it('keeps legacy weights of a repo without safetensors', () => {
    const paths = ['pytorch_model.bin', 'colbert_linear.pt', 'sparse_linear.pt'];
    expect(kept(paths, sie)).toEqual(paths);
  });

  const foreign = [
    'flax_model.msgpack',
    'tf_model.h5',
    'rust_model.ot',
    'model.tflite',
    'coreml/model.mlpackage/weights/weight.bin',
    'openvino/openvino_model.bin',
    'openvino_model.xml',
    'model-q4.gguf',
  ];

  it('leaves out weights of other frameworks where there are some for PyTorch', () => {
    expect(kept([...foreign, 'pytorch_model.bin'], sie)).toEqual(['pytorch_model.bin']);
  });

  it('keeps weights of other frameworks where there are no others', () => {
    expect(kept(['config.json', 'model-q4.gguf', 'model-q8.gguf'], sie)).toHaveLength(3);
  });

  it('keeps weights of other frameworks that were asked for', () => {
    const paths = ['config.json', 'model.safetensors', 'model-q4.gguf', 'flax_model.msgpack'];
    expect(kept(paths, { preset: 'sie', include: ['*.gguf', 'config.json'] })).toEqual([
      'config.json',
      'model-q4.gguf',
    ]);
  });

  it('keeps code, templates and vocabularies', () => {
    const paths = ['model.safetensors', 'modeling.py', 'chat_template.jinja', 'spiece.model', 'qwen.tiktoken', 'x.pt'];
    expect(kept(paths, sie)).toEqual(paths);
  });
});
