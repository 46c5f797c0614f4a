import { digestHex } from '../core/digest.ts';
import { bucketSecret } from './bucket-access.ts';
import { exampleFile, kubernetesName } from './example.ts';
import type { GeneratedFile } from './generated-file.ts';
import type { YamlValue } from './yaml.ts';
import type { Zone, ZoneFile, ZoneModel } from './zone.ts';

/** `inference.llmkube.dev` Models, one for each GGUF, whether in one file or in parts: https://github.com/defilantech/LLMKube */
export function llmkube({ models, modelList }: Zone): GeneratedFile | undefined {
  if (models === undefined || !/^(?:s3|file):/.test(models)) return undefined;
  const bucket = models.startsWith('s3:');
  const place = models.replace(/^file:\/\//, '');
  const readable = modelList.map((model) => ({ model, ggufs: ggufsOf(model) }));
  const documents = readable.flatMap(({ model, ggufs }) =>
    ggufs.map((parts): YamlValue => ({
      apiVersion: 'inference.llmkube.dev/v1alpha1',
      kind: 'Model',
      metadata: { name: kubernetesName(ggufs.length === 1 ? model.repo : `${model.repo}-${stem(parts)}`) },
      spec: {
        ...sourceOf(`${place}/${model.folder}`, parts),
        format: 'gguf',
        ...(bucket ? { sourceSecretRef: { name: bucketSecret } } : {}),
      },
    })),
  );
  return exampleFile('llmkube', documents, [
    bucket
      ? `The Secret ${bucketSecret} is that of secrets/model-bucket.yaml: LLMKube reads keys, region and endpoint from it.`
      : `Switch on local sources: Helm value modelSource.allowedHostPathRoots has to name ${place} or a directory above it.`,
  ]);
}

/** By llama.cpp's own way to name the parts of one model. */
const part = /-\d{5}-of-\d{5}\.gguf$/;

/** The files of each model, the first part first; projectors of images belong to another model, and are none themselves. */
function ggufsOf({ files }: ZoneModel): ZoneFile[][] {
  const ggufs = new Map<string, ZoneFile[]>();
  for (const file of files) {
    if (!file.path.endsWith('.gguf') || /(?:^|\/)mmproj[^/]*$/i.test(file.path) || !isPlain(file.path)) continue;
    const name = file.path.replace(part, '');
    ggufs.set(name, [...(ggufs.get(name) ?? []), file]);
  }
  return [...ggufs.values()];
}

/** LLMKube's downloader puts the key into an address as it is. */
function isPlain(path: string): boolean {
  return /^[\w.~/-]+$/.test(path);
}

function stem([first]: ZoneFile[]): string {
  return first?.path.replace(part, '').replace(/\.gguf$/, '') ?? '';
}

function sourceOf(folder: string, parts: ZoneFile[]): Record<string, YamlValue> {
  const [first, ...more] = parts;
  if (!first || more.length > 0) return { source: folder, files: parts.map(({ path }) => path) };
  return { source: `${folder}/${first.path}`, sha256: digestHex(first.digest) };
}
