import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatReceipt, type Receipt, startReceipt } from '../../src/bundle/records/receipt.ts';
import { sha256 } from '../../src/core/digest.ts';

export const commit = '5617a9f61b028005a4858fdac845db406aefb181';

/** What `import` says of a model in the layout that workers read. */
export function receivedModel(repo: string, files: readonly string[]): Receipt['models'][number] {
  const folder = `models--${repo.replace('/', '--')}`;
  const keys = [
    ...files.map((path) => `${folder}/snapshots/${commit}/${path}`),
    `${folder}/trees/${commit}.json`,
    `${folder}/refs/main`,
  ];
  return { repo, commit, objects: keys.map((key) => ({ key, digest: sha256(key), size: key.length })) };
}

/** @param target where it lies in the zone, without its tag */
export function receivedImage(reference: string, target: string): Receipt['images'][number] {
  const digest = sha256(reference);
  return { reference, target: `${target}${reference.slice(reference.lastIndexOf(':'))}`, digest, digests: [digest] };
}

/** Images by the default placement: source host and repository below a prefix. */
export function mirrored(prefix: string, references: readonly string[]): Receipt['images'] {
  return references.map((reference) =>
    receivedImage(reference, `${prefix}/${reference.slice(0, reference.lastIndexOf(':'))}`),
  );
}

/** Everything that the chart of a SIE release runs without options. */
export function sieReferences(version: string, sidecar = false): string[] {
  const sie = 'ghcr.io/superlinked';
  return [
    `${sie}/sie-config:v${version}`,
    `${sie}/sie-gateway:v${version}`,
    `${sie}/sie-server:v${version}-cuda12-default`,
    ...(sidecar ? [`${sie}/sie-server-sidecar:v${version}`, 'docker.io/library/busybox:1.37.0'] : []),
    'docker.io/library/nats:2.12.6-alpine',
    'docker.io/natsio/nats-server-config-reloader:0.21.1',
    'docker.io/natsio/nats-box:0.19.3',
    'registry.k8s.io/pause:3.10',
  ];
}

/** The text of a receipt of a whole import, but for what is said. */
export function receiptText(parts: Partial<Receipt>): string {
  const receipt = startReceipt({ name: 'site-a', inventory: sha256('inventory') }, {});
  return formatReceipt({ ...receipt, complete: true, ...parts });
}

/** The same, with no objects of these models, by their commits. */
export function receiptOf(models: Record<string, string>): string {
  return receiptText({ models: Object.entries(models).map(([repo, of]) => ({ repo, commit: of, objects: [] })) });
}

/** The same in a file. @returns its path */
export async function writeReceipt(directory: string, parts: Partial<Receipt>): Promise<string> {
  const path = join(directory, 'site-a.receipt.json');
  await writeFile(path, receiptText(parts));
  return path;
}
