import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FaultId } from '../../src/doctor/faults.ts';
import type { DoctorCase } from './doctor-case.ts';
import type { S3Options, TestS3 } from './s3.ts';
import { buildBundle } from './sealed-bundle.ts';
import { commit, folder, models, putModel } from './sick-zone.ts';
import { serverTls } from './tls.ts';

const key = (path: string): string => `sie/models/${folder}/${path}`;
const file = key(`snapshots/${commit}/config.json`);

function inBucket(
  fault: FaultId,
  when: string,
  spoil: (s3: TestS3) => void,
  {
    options = {},
    receipt = false,
    url = models,
  }: { options?: Partial<S3Options>; receipt?: boolean; url?: string } = {},
): DoctorCase {
  return {
    fault,
    when,
    look: async (zone) => {
      const s3 = await zone.bucket(options);
      spoil(s3);
      return zone.doctor({ models: url, ...(receipt ? { receipt: await zone.receipt() } : {}) });
    },
  };
}

const nothing = (): void => {};

export const bucketCases: DoctorCase[] = [
  {
    fault: 'bucket-unreachable',
    when: 'nothing listens at AWS_ENDPOINT_URL_S3',
    look: (zone) => {
      zone.useStore('http://127.0.0.1:9');
      return zone.doctor({ models });
    },
  },
  inBucket('bucket-tls', 'the authority of the store is not given with `--ca`', nothing, {
    options: { tls: serverTls() },
  }),
  inBucket('clock-off', 'this machine is an hour behind', nothing, {
    options: {
      faults: ({ method, path }) =>
        method === 'HEAD' && path === '/models'
          ? { kind: 'status', status: 403, headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } }
          : undefined,
    },
  }),
  inBucket('bucket-missing', 'the bucket is misspelt', nothing, { url: 's3://modles/sie/models' }),
  {
    fault: 'bucket-credentials',
    when: 'the secret key is wrong',
    look: async (zone) => {
      const s3 = await zone.bucket();
      zone.useStore(s3.url, 'another');
      return zone.doctor({ models });
    },
  },
  inBucket('bucket-region', 'AWS_REGION says another one than that of the bucket', nothing, {
    options: { region: 'zone-east' },
  }),
  inBucket('bucket-list-denied', 'the role may read objects and not list them', nothing, {
    options: { deny: (action) => action === 'ListObjectsV2' },
  }),
  inBucket('bucket-get-denied', 'the role may list and not read', nothing, {
    options: { deny: (action) => action === 'GetObject' || action === 'HeadObject' },
  }),
  inBucket('bucket-empty', 'the prefix is another one', nothing, { url: 's3://models/other/models', receipt: true }),
  inBucket('marker-key', 'a console made a folder (trap E)', (s3) => s3.put('models', key('snapshots/'), '')),
  inBucket(
    'model-missing',
    'a model of the receipt was never uploaded, or was deleted',
    (s3) => {
      for (const each of s3.objects.keys()) if (each.includes(folder)) s3.objects.delete(each);
      putModel(s3, 'sie-test/another');
    },
    { receipt: true },
  ),
  inBucket('model-incomplete', 'an upload was broken off (trap F)', (s3) => s3.objects.delete(`models/${file}`), {
    receipt: true,
  }),
  inBucket(
    'content-wrong',
    'a file has the right size and other bytes (trap I)',
    (s3) => s3.put('models', file, '{"model_type":"gpt2"}'),
    {
      receipt: true,
    },
  ),
  inBucket('ref-missing', '`hf download --revision COMMIT` wrote no ref (trap G)', (s3) =>
    s3.objects.delete(`models/${key('refs/main')}`),
  ),
  inBucket('ref-newline', 'the ref was written with `echo`', (s3) => s3.put('models', key('refs/main'), `${commit}\n`)),
  inBucket('ref-wrong', 'the ref is cut off, or a branch', (s3) =>
    s3.put('models', key('refs/main'), commit.slice(0, 7)),
  ),
  inBucket('ref-dangling', 'the ref names another commit', (s3) => s3.put('models', key('refs/main'), 'a'.repeat(40))),
  inBucket('tree-wrong', 'the list names a file that was filtered out (trap H)', (s3) =>
    s3.put(
      'models',
      key(`trees/${commit}.json`),
      JSON.stringify({
        format_version: 1,
        files: { 'config.json': {}, 'model.safetensors': {}, '1_Pooling/config.json': {}, 'onnx/model.onnx': {} },
      }),
    ),
  ),
  inBucket('companion-missing', 'an adapter was imported without its base model (trap J)', (s3) =>
    putModel(s3, 'sie-test/lora', { 'adapter_config.json': '{"base_model_name_or_path":"sie-test/base"}' }),
  ),
  inBucket('blobs-doubled', 'a cache was uploaded with `aws s3 sync` (trap D)', (s3) =>
    s3.put('models', key('blobs/aa11'), 'weights'),
  ),
  inBucket('snapshots-many', 'a newer commit was imported beside the old one', (s3) => {
    s3.put('models', key(`snapshots/${'b'.repeat(40)}/config.json`), '{}');
    s3.put('models', key(`trees/${'b'.repeat(40)}.json`), '{"format_version":1,"files":{"config.json":{}}}');
  }),
  inBucket('leftovers', '`.no_exist/` was uploaded too', (s3) =>
    s3.put('models', key(`.no_exist/${commit}/chat_template.json`), ''),
  ),
  inBucket('tree-missing', 'another tool uploaded the model (trap H)', (s3) =>
    s3.objects.delete(`models/${key(`trees/${commit}.json`)}`),
  ),
  {
    fault: 'prefix-not-models',
    when: 'the models were imported to an address of another form',
    look: async (zone) => {
      const s3 = await zone.bucket();
      const before = new Map(s3.objects);
      for (const [name, object] of before) s3.put('models', name.replace('models/sie/models/', 'sie/'), object.body);
      return zone.doctor({ models: 's3://models/sie' });
    },
  },
  {
    fault: 'file-too-large',
    when: 'one file of a model has more than 50 GB (trap K)',
    look: async (zone) => {
      const top = join(zone.path, 'models', folder);
      await mkdir(join(top, 'snapshots', commit), { recursive: true });
      await mkdir(join(top, 'refs'));
      await mkdir(join(top, 'trees'));
      await writeFile(join(top, 'refs/main'), commit);
      await writeFile(join(top, 'trees', `${commit}.json`), '{"format_version":1,"files":{"model.gguf":{}}}');
      // A hole takes no space.
      await writeFile(join(top, 'snapshots', commit, 'model.gguf'), '');
      await truncate(join(top, 'snapshots', commit, 'model.gguf'), 60e9);
      return zone.doctor({ models: `file://${zone.path}/models` });
    },
  },
  {
    fault: 'receipt-damaged',
    when: 'an upload of it was broken off',
    look: async (zone) => {
      const s3 = await zone.bucket();
      s3.put('models', 'sie/models/.sie-mirror/site-a.receipt.json', '{"schema":');
      return zone.doctor({ models });
    },
  },
  {
    fault: 'bundle-newer',
    when: 'the import was done by a newer release',
    look: async (zone) => {
      await zone.bucket();
      return zone.doctor({ models, receipt: await zone.receipt({ tool: 'sie-mirror/9.0.0' }) });
    },
  },
  {
    fault: 'node-old',
    when: 'the machine has an older Node.js',
    look: (zone) => {
      zone.nodeVersion = '18.20.8';
      return zone.doctor({});
    },
  },
  {
    fault: 'bundle-missing',
    when: 'the medium is not mounted',
    look: (zone) => zone.doctor({ bundle: '/media/usb/site-a' }),
  },
  {
    fault: 'bundle-damaged',
    when: 'a copy to the medium was broken off',
    look: async (zone) => {
      const { directory, inventory } = await buildBundle(zone.path, { 'a.bin': 50_000 });
      await truncate(join(directory, inventory.volumes[0]?.name ?? ''), 1024);
      return zone.doctor({ bundle: directory });
    },
  },
];
