import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import { formatReceipt, type Receipt, startReceipt } from '../../src/bundle/records/receipt.ts';
import { doctor, type DoctorOptions } from '../../src/commands/doctor.ts';
import { sha256 } from '../../src/core/digest.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import type { KubeOptions } from './kube.ts';
import { startKube } from './kube.ts';
import { temporaryDirectory } from './place.ts';
import { startS3, type S3Options, type TestS3 } from './s3.ts';
import { s3Env } from './s3-env.ts';
import { stubEnv } from './stub-env.ts';

export const model = 'sie-test/tiny-e5';
export const folder = 'models--sie-test--tiny-e5';
export const commit = '5617a9f61b028005a4858fdac845db406aefb181';
export const models = 's3://models/sie/models';
const keys = { accessKeyId: 'ZONEACCESSKEY', secretAccessKey: 'canary-zone-secret-key' };

interface Closing {
  close(): Promise<unknown>;
}

/** A zone with whatever a test puts into it, and a fault in it. */
export class SickZone implements AsyncDisposable {
  readonly path: string;
  readonly #end: (() => Promise<unknown>)[] = [];
  env: Record<string, string> = {};
  insecureHosts: string[] = [];
  nodeVersion: string | undefined;
  /** Another API server than the one in this process. */
  startKube: (options: KubeOptions) => Promise<Closing & { kubeconfig(): string }> = startKube;

  private constructor(path: string) {
    this.path = path;
  }

  static async start(): Promise<SickZone> {
    const place = await temporaryDirectory();
    const zone = new SickZone(place.path);
    zone.#end.push(async () => place[Symbol.asyncDispose]());
    return zone;
  }

  /** Ends with the zone; what its server did not know fails the test. */
  keep<T extends Closing>(server: T): T {
    this.#end.push(() => server.close());
    return server;
  }

  /** A bucket with one whole model, as `import` leaves it. */
  async bucket(options: Partial<S3Options> = {}): Promise<TestS3> {
    const s3 = this.keep(await startS3({ buckets: ['models'], ...keys, ...options }));
    putModel(s3);
    this.useStore(s3.url);
    return s3;
  }

  useStore(url: string, secret = keys.secretAccessKey): void {
    this.env = { ...this.env, ...s3Env(url, { ...keys, secretAccessKey: secret }) };
    stubEnv(this.env);
  }

  /** @returns path of its kubeconfig */
  async cluster(options: KubeOptions): Promise<string> {
    const kube = this.keep(await this.startKube({ token: 'canary-kube-token', ...options }));
    await writeFile(join(this.path, 'kubeconfig'), kube.kubeconfig());
    return 'kubeconfig';
  }

  /** @returns path of a receipt of the model, with what else is given */
  async receipt(more: Partial<Receipt> = {}): Promise<string> {
    const receipt = { ...receiptOf(), ...more };
    await writeFile(join(this.path, 'receipt.json'), formatReceipt(receipt));
    return 'receipt.json';
  }

  async doctor(options: DoctorOptions): Promise<Report> {
    const { context } = await testContext({
      cwd: this.path,
      env: this.env,
      insecureHosts: this.insecureHosts,
      ...(this.nodeVersion === undefined ? {} : { nodeVersion: this.nodeVersion }),
    });
    try {
      return await doctor(options, context);
    } finally {
      await context.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    vi.unstubAllEnvs();
    const ends = await Promise.allSettled(this.#end.toReversed().map((end) => end()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }
}

const content: Record<string, string> = {
  'config.json': '{"model_type":"bert"}',
  'model.safetensors': 'weights of a tiny model',
  '1_Pooling/config.json': '{}',
};

/** Keys below the prefix, and their content. */
function objectsOf(id: string, files: Record<string, string>): Record<string, string> {
  const top = `models--${id.replace('/', '--')}`;
  const entries = Object.entries(files).map(([path, text]) => {
    const blob = createHash('sha1')
      .update(`blob ${Buffer.byteLength(text)}\0${text}`)
      .digest('hex');
    return [path, { size: Buffer.byteLength(text), blob_id: blob }];
  });
  const tree = JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) });
  return {
    ...Object.fromEntries(Object.entries(files).map(([path, text]) => [`${top}/snapshots/${commit}/${path}`, text])),
    [`${top}/trees/${commit}.json`]: tree,
    [`${top}/refs/main`]: commit,
  };
}

/** Puts a whole model into the bucket. */
export function putModel(s3: TestS3, id = model, files = content): void {
  for (const [key, text] of Object.entries(objectsOf(id, files)))
    s3.put('models', `sie/models/${key}`, text, { sha256: sha256(Buffer.from(text)).slice('sha256:'.length) });
}

function receiptOf(): Receipt {
  const bundle = { name: 'site-a', inventory: sha256(Buffer.from('inventory')) };
  const objects = Object.entries(objectsOf(model, content)).map(([key, text]) => ({
    key,
    digest: sha256(Buffer.from(text)),
    size: Buffer.byteLength(text),
  }));
  const receipt = startReceipt(bundle, { models });
  return { ...receipt, complete: true, models: [{ repo: model, commit, objects }] };
}

/** The lines that name the most probable cause and its fix, without what differs from run to run. */
export function firstCause(report: Report, zone: SickZone): string {
  const start = report.summary.findIndex((line) => /^(?:FAULT|warning) /.test(line));
  const length = report.summary.slice(start + 1).findIndex((line) => !line.startsWith(' '));
  return report.summary
    .slice(start, start + 1 + length)
    .join('\n')
    .replaceAll(zone.path, '/DIR')
    .replaceAll(/127\.0\.0\.1:(?!9\b)\d+/g, 'HOST:PORT')
    .replaceAll(/sha256:[0-9a-f]{64}/g, 'sha256:...');
}
