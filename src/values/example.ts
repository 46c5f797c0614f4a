import { type AccessSettings, type EnvVar, identityAnnotations } from './bucket-access.ts';
import type { GeneratedFile } from './generated-file.ts';
import { formatYamlDocuments, type YamlValue } from './yaml.ts';
import type { Zone, ZoneModel } from './zone.ts';

/** Example manifests for one consumer; undefined when the zone holds nothing that it reads. */
export type Consumer = (zone: Zone, settings: AccessSettings) => GeneratedFile | undefined;

/** `CONSUMER/example.yaml` with notes above; undefined without documents. */
export function exampleFile(consumer: string, documents: YamlValue[], notes: string[]): GeneratedFile | undefined {
  if (documents.length === 0) return undefined;
  const body = [...notes.map((note) => `# ${note}`), formatYamlDocuments(documents)].join('\n');
  return { path: `${consumer}/example.yaml`, consumer, body };
}

/** The service account of servers that read the bucket themselves; the same in every file that has it. */
export const readerName = 'model-reader';

/** An account that may pull images and, where the cloud says who may read, stands for its identity. */
export function serviceAccount(
  name: string,
  settings: AccessSettings,
  more: { annotations?: Record<string, string>; secret?: string | undefined } = {},
): YamlValue {
  const annotations = { ...identityAnnotations(settings), ...more.annotations };
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    ...(more.secret === undefined ? {} : { secrets: [{ name: more.secret }] }),
    imagePullSecrets: [{ name: settings.pullSecret }],
  };
}

/** A Deployment of one server that reads the bucket as `model-reader`, with one GPU. */
export function server(
  name: string,
  container: { name: string; image: string; args?: string[]; env: EnvVar[] },
): YamlValue {
  const labels = { 'app.kubernetes.io/name': name };
  const { env, ...rest } = container;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: readerName,
          containers: [
            {
              ...rest,
              env,
              ports: [{ name: 'http', containerPort: 8000 }],
              resources: { limits: { 'nvidia.com/gpu': '1' } },
            },
          ],
        },
      },
    },
  };
}

export function objectName({ repo }: ZoneModel): string {
  return kubernetesName(repo);
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names */
export function kubernetesName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(-50)
    .replace(/^[-0-9]+|-+$/g, '');
  return name === '' ? 'model' : name;
}
