import { compilePattern } from './fnmatch.ts';

/** What SIE's `ensure_model_cached` never fetches (sie_sdk 0.3.1 to 0.10.1, cache.py). */
const neverFetched = [
  '*.md',
  'README*',
  'LICENSE*',
  'docs/*',
  '.github/*',
  '*.onnx',
  'onnx/*',
  'optimizer.*',
  'scheduler.*',
  'trainer_state.json',
  'training_args.bin',
  'checkpoint-*/*',
];

/** What it leaves out too when the repo has safetensors at its root. */
const legacyWeights = ['*.bin', '*.ckpt', '*.msgpack', '*.h5', '*.ot'];

/** The same weights for something that no SIE worker runs. */
const otherFrameworks: readonly [pattern: string, framework: string][] = [
  ['*.msgpack', 'Flax'],
  ['*.h5', 'TensorFlow'],
  ['*.keras', 'TensorFlow'],
  ['*.tflite', 'TensorFlow Lite'],
  ['*.ot', 'Rust'],
  ['*.mlmodel', 'Core ML'],
  ['*.mlpackage/*', 'Core ML'],
  ['coreml/*', 'Core ML'],
  ['*openvino/*', 'OpenVINO'],
  ['*openvino_*.bin', 'OpenVINO'],
  ['*openvino_*.xml', 'OpenVINO'],
  ['*.gguf', 'GGUF'],
];

/** Licences and the like: people in the zone want to read them, workers do not. */
const notice = /^(?:licen[cs]e|notice|copying|use_policy|readme)/i;

const torchWeights = /\.(?:safetensors|bin|pt|pth|ckpt)$/;

export interface PresetVerdict {
  place: 'snapshot' | 'notice' | 'out';
  reason: string;
}

/**
 * What an SIE worker would fetch, with corrections: legacy weights stay where no safetensors stand beside them (SIE
 * drops `2_Dense/pytorch_model.bin` of a repo that has safetensors at its root, and the model no longer loads); weights
 * for other frameworks go where there are weights for PyTorch; licences and model cards are carried beside the snapshot.
 * @returns a verdict by path; `asked` says that the user named the file by a pattern
 */
export function siePreset(paths: readonly string[]): (path: string, asked: boolean) => PresetVerdict {
  const never = neverFetched.map((text) => ({ text, matches: compilePattern(text) }));
  const legacy = legacyWeights.map((text) => ({ text, matches: compilePattern(text) }));
  const others = otherFrameworks.map(([text, framework]) => ({ framework, matches: compilePattern(text) }));
  const frameworkOf = (path: string): string | undefined => others.find(({ matches }) => matches(path))?.framework;
  const ruleOf = (path: string): string | undefined => never.find(({ matches }) => matches(path))?.text;
  const hasRootSafetensors = paths.includes('model.safetensors') || paths.includes('model.safetensors.index.json');
  const safetensorsIn = new Set(paths.filter((path) => path.endsWith('.safetensors')).map(folderOf));
  const hasTorch = paths.some((path) => torchWeights.test(path) && !ruleOf(path) && !frameworkOf(path));
  return (path, asked) => {
    const rule = ruleOf(path);
    if (rule !== undefined && notice.test(path))
      return { place: 'notice', reason: `SIE leaves out \`${rule}\`; kept beside the snapshot for people to read` };
    if (rule !== undefined) return { place: 'out', reason: `SIE leaves out \`${rule}\`` };
    const framework = frameworkOf(path);
    if (framework !== undefined && hasTorch && !asked)
      return { place: 'out', reason: `${framework} weights, and the repo has those for PyTorch` };
    if (framework !== undefined)
      return {
        place: 'snapshot',
        reason: `${framework} weights, ${asked ? 'named by an `include` pattern' : 'and the repo has none for PyTorch'}`,
      };
    const old = hasRootSafetensors ? legacy.find(({ matches }) => matches(path)) : undefined;
    if (!old) return { place: 'snapshot', reason: 'SIE fetches it' };
    return safetensorsIn.has(folderOf(path))
      ? { place: 'out', reason: `SIE leaves out \`${old.text}\` where there are safetensors` }
      : { place: 'snapshot', reason: `SIE would leave out \`${old.text}\`, but no safetensors stand beside it` };
  };
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}
