import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smoke } from '../../src/commands/smoke.ts';
import { decodeMsgpack, encodeMsgpack } from '../../src/sie/msgpack.ts';
import { testContext } from '../support/context.ts';
import { type GatewayOptions, startGateway } from '../support/sie.ts';
import { smokeDefaults } from '../support/smoke.ts';
import { runCommand } from './command.ts';
import { installTools, type VersionedTool } from './tools.ts';

/** SIE's own client drives the stand-in of its gateway: that is the stand-in's test. */

const client = `
import json, sys
import numpy as np
from sie_sdk import SIEClient
client = SIEClient(sys.argv[1])
model, text = 'BAAI/bge-m3', {'text': 'hello world'}
found = {'models': [m['name'] for m in client.list_models()]}
for dtype in ('float32', 'float16', 'int8', 'uint8', 'binary'):
    dense = client.encode(model, text, gpu='l4', output_types=['dense'], output_dtype=dtype)['dense']
    found[dtype] = [str(dense.dtype), int(dense.shape[0])]
dense = client.encode(model, text)['dense']
found['norm'] = float(np.linalg.norm(dense))
sparse = client.encode(model, text, output_types=['sparse'])['sparse']
found['sparse'] = [str(sparse['indices'].dtype), len(sparse['indices']) == len(sparse['values'])]
found['multivector'] = list(client.encode(model, text, output_types=['multivector'])['multivector'].shape)
scores = client.score(model, {'text': 'the cat'}, [{'id': 'a', 'text': 'rates'}, {'id': 'b', 'text': 'the cat'}])
found['best'] = scores['scores'][0]['item_id']
found['entity'] = client.extract(model, {'text': 'Marie Curie worked'}, labels=['person'])['entities'][0]['text']
if sys.argv[2] == 'gateway':
    client.create_pool('eval', {'l4': 1})
    found['pool'] = client.get_pool('eval')['status']['assigned_workers'][0]['gpu']
    found['pooled'] = int(client.encode(model, text, gpu='eval/l4')['dense'].shape[0])
    found['deleted'] = [client.delete_pool('eval'), client.get_pool('eval')]
print(json.dumps(found))
`;

const arrays = `
import json, sys
import msgpack, msgpack_numpy, numpy as np
values = [0, 1, 2, 100, 127]
types = ['<f2', '>f2', '<f4', '>f4', '<f8', '>f8', '|i1', '|u1', '<i2', '>i2', '<u2', '>u2', '<i4', '>i4', '<u4', '>u4', '<i8', '>i8', '<u8', '>u8']
packed = {t: msgpack.packb({'v': np.array(values, dtype=t)}, default=msgpack_numpy.encode).hex() for t in types}
packed['scalar'] = msgpack.packb({'v': np.float32(1.5)}, default=msgpack_numpy.encode).hex()
packed['bits'] = msgpack.packb({'v': np.packbits(np.array([1, 0, 0, 0, 0, 0, 0, 1, 1]))}, default=msgpack_numpy.encode).hex()
read = msgpack.unpackb(bytes.fromhex(sys.argv[1]), object_hook=msgpack_numpy.decode)
print(json.dumps({'packed': packed, 'read': read}))
`;

const agreement = `
import json, sys
import numpy as np
from sie_sdk import SIEClient
client = SIEClient(sys.argv[1])
record = json.load(open(sys.argv[2]))['models'][0]
found = {}
for dtype in ('float32', 'float16', 'int8', 'uint8'):
    lowest = 1.0
    for each in record['vectors']:
        wanted = np.array(each['vector'], dtype=np.float64)
        given = client.encode(record['model'], {'text': each['text']}, output_dtype=dtype)['dense'].astype(np.float64)
        if dtype == 'uint8':
            wanted, given = wanted - wanted.mean(), given - given.mean()
        lowest = min(lowest, float(wanted @ given / (np.linalg.norm(wanted) * np.linalg.norm(given))))
    found[dtype] = lowest
print(json.dumps(found))
`;

let sdks: VersionedTool[];
let directory: string;
let scripts: { client: string; arrays: string; agreement: string };

beforeAll(async () => {
  sdks = (await installTools()).sdks ?? [];
  directory = await mkdtemp(join(tmpdir(), 'sie-sdk-'));
  const script = (name: string): string => join(directory, `${name}.py`);
  scripts = { client: script('client'), arrays: script('arrays'), agreement: script('agreement') };
  await writeFile(scripts.agreement, agreement);
  await writeFile(scripts.client, client);
  await writeFile(scripts.arrays, arrays);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const expected = {
  models: ['BAAI/bge-m3'],
  float32: ['float32', 64],
  float16: ['float16', 64],
  int8: ['int8', 64],
  uint8: ['uint8', 64],
  binary: ['uint8', 8],
  norm: expect.closeTo(1, 4) as number,
  sparse: ['int32', true],
  multivector: [2, 64],
  best: 'b',
  entity: 'Marie Curie',
};

describe.each<[string, Partial<GatewayOptions>]>([
  ['gateway of 0.3', { dialect: '0.3' }],
  ['gateway of 0.10', { dialect: '0.10' }],
  ['worker', { standalone: true }],
])('a %s', (name, switches) => {
  it('is understood by every release of the client', async () => {
    for (const python of sdks) {
      const outputs = [
        'dense' as const,
        'sparse' as const,
        'multivector' as const,
        'score' as const,
        'extract' as const,
      ];
      const gateway = await startGateway({ models: { 'BAAI/bge-m3': { dim: 64, outputs } }, ...switches });
      const kind = name === 'worker' ? 'worker' : 'gateway';
      const found = JSON.parse(await runCommand(python.path, [scripts.client, gateway.url, kind])) as object;
      const pool = { pool: 'l4', pooled: 64, deleted: [true, null] };
      expect(found, python.version).toEqual({ ...expected, ...(kind === 'gateway' ? pool : {}) });
      await gateway.close();
    }
  });
});

it('msgpack of numpy is read, and what is written is read by it', async () => {
  for (const python of sdks) {
    const sent = { items: [{ text: 'größe' }], params: { output_types: ['dense'] } };
    const hex = Buffer.from(encodeMsgpack(sent)).toString('hex');
    const answer = JSON.parse(await runCommand(python.path, [scripts.arrays, hex])) as {
      packed: Record<string, string>;
      read: unknown;
    };
    expect(answer.read).toEqual(sent);
    for (const [type, packed] of Object.entries(answer.packed)) {
      const wanted = { scalar: 1.5, bits: [129, 128] }[type] ?? [0, 1, 2, 100, 127];
      expect(decodeMsgpack(Buffer.from(packed, 'hex')), `${python.version} ${type}`).toEqual({ v: wanted });
    }
  }
});

it('recorded vectors agree as numpy says that they do, in every number format', async () => {
  const model = 'BAAI/bge-m3';
  for (const python of sdks) {
    const gateway = await startGateway({ models: { [model]: { dim: 64 } } });
    const { context } = await testContext({ cwd: directory });
    await smoke({ ...smokeDefaults, url: gateway.url, model, timeout: 60, record: 'golden.json' }, context);
    const by = await runCommand(python.path, [scripts.agreement, gateway.url, join(directory, 'golden.json')]);
    for (const [dtype, cosine] of Object.entries(JSON.parse(by) as Record<string, number>)) {
      const report = await smoke(
        { ...smokeDefaults, url: gateway.url, model, timeout: 60, golden: 'golden.json', dtype },
        context,
      );
      expect(report.items[0]?.detail?.['golden'], `${python.version} ${dtype}`).toBeCloseTo(cosine, 6);
    }
    await context.close();
    await gateway.close();
  }
});
