import type { FileFindings } from './findings.ts';
import { judgeImport } from './pickle-verdict.ts';

/** How Keras writes a layer that is a function: https://keras.io/api/layers/core_layers/lambda/ */
const lambda = /"class_name"\s*:\s*"Lambda"/;

/** How it writes where a part of a model comes from: https://keras.io/api/models/model_saving_apis/serialization_utils/ */
const module = /"module"\s*:\s*"([\w.]{1,200})"/g;

/** Keras itself, what belongs to it, and what it calls its own functions without a home. */
const own = /^(?:keras|keras_hub|keras_nlp|keras_cv|keras_core|tf_keras|tensorflow|builtins)(?:\.|$)/;

/** Looks into the configuration of a Keras model, or bytes that hold one, for what becomes code when it is loaded. */
export function inspectKerasConfig(text: string, found: FileFindings): void {
  // JSON may write any letter as an escape.
  const unescaped = text.replaceAll(/\\u00([0-7][0-9a-fA-F])/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (lambda.test(unescaped)) found.add('danger', 'lambda-layer', 'has a Keras Lambda layer, which is Python code');
  const names = [...unescaped.matchAll(module)].map(([, name = '']) => name);
  for (const name of [...new Set(names)].filter((each) => !own.test(each)).slice(0, 50)) {
    const isDangerous = judgeImport({ module: name, name: 'x' }) === 'dangerous';
    found.add(
      isDangerous ? 'danger' : 'warning',
      'import',
      `takes a part of its model from \`${name}\`, which is not Keras`,
    );
  }
}
