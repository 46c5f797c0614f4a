import { writeFile, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeMsgpack, encodeMsgpack } from '../../src/sie/msgpack.ts';
import { type GatewayOptions, startGateway } from '../support/sie.ts';
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

let sdks: VersionedTool[];
let scripts: { client: string; arrays: string };

beforeAll(async () => {
  sdks = (await installTools()).sdks ?? [];
  const directory = await mkdtemp(join(tmpdir(), 'sie-sdk-'));
  scripts = { client: join(directory, 'client.py'), arrays: join(directory, 'arrays.py') };
  await writeFile(scripts.client, client);
  await writeFile(scripts.arrays, arrays);
});

const expected = {
  models: ['BAAI/bge-m3'],
  float32: ['float32', 64],
  float16: ['float16', 64],
  int8: ['int8', 64],
  uint8: ['uint8', 64],
  binary: ['uint8', 8],
  norm: expect.closeTo(1, 4) as number,
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
      const gateway = await startGateway({ models: { 'BAAI/bge-m3': { dim: 64 } }, ...switches });
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
