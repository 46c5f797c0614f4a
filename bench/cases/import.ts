import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startVersitygw } from '../../test/real/servers.ts';
import type { Bench, BenchCase } from '../support/bench-case.ts';
import type { Contender } from '../support/compare.ts';
import { type Command, measure } from '../support/measure.ts';
import { type ModelSpec, writeModelStore } from '../support/model-store.ts';
import { ours } from '../support/ours.ts';
import { methodCounts, startProxy } from '../../test/real/proxy.ts';
import { mebi, scaled, sizeText } from '../support/sizes.ts';

const keys = { accessKeyId: 'BENCHACCESSKEY', secretAccessKey: 'secret-key-of-the-bench' };
const bucket = 'models';

const specOf = (scale: number): ModelSpec => ({
  large: 1,
  largeBytes: scaled(1536 * mebi, scale),
  small: scaled(500, scale),
  smallBytes: 4096,
});

export const importCase: BenchCase = {
  name: 'import',
  about: (scale) => {
    const { largeBytes, small } = specOf(scale);
    return `One file of ${sizeText(largeBytes)} and ${small} of 4 KiB to an empty prefix of versitygw: ours straight out of a bundle, \`aws s3 sync\` from a directory in which they lie unpacked. Then once more, with nothing changed.`;
  },
  run: async (bench) => {
    const { directory, scale } = bench;
    const { store, snapshot } = await writeModelStore(join(directory, 'store'), specOf(scale));
    await measure(
      pythonOf(bench),
      ours(['bundle', '--store', store, '--out', directory, '--name', 'bench'], directory),
    );
    const server = await startVersitygw(directory, { ...keys, buckets: [bucket] });
    try {
      const make: Maker[] = [oursTo(directory), awsTo(bench, snapshot)];
      const pairs = await compareFresh(bench, make, server.url);
      return {
        pairs: [...pairs, ...(await compareAgain(bench, make, server.url))],
        notes: await countRequests(bench, make, server.host),
      };
    } finally {
      await server.stop();
    }
  },
};

/** A command that brings the model to a prefix. */
interface Maker {
  name: string;
  command: (prefix: string, endpoint: string) => Command;
}

function oursTo(directory: string): Maker {
  return {
    name: 'sie-mirror',
    command: (prefix, endpoint) => {
      const models = `s3://${bucket}/${prefix}`;
      const args = [
        'import',
        join(directory, 'bench'),
        '--models',
        models,
        '--receipt',
        join(directory, 'receipt.json'),
      ];
      return ours(args, directory, environmentOf(endpoint));
    },
  };
}

function awsTo({ directory, tools }: Bench, snapshot: string): Maker {
  return {
    name: '`aws s3 sync`',
    command: (prefix, endpoint) => ({
      argv: [tools.aws, 's3', 'sync', '--only-show-errors', snapshot, `s3://${bucket}/${prefix}`],
      cwd: directory,
      env: environmentOf(endpoint),
    }),
  };
}

function environmentOf(endpoint: string): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
  };
}

type Pairs = Awaited<ReturnType<Bench['compare']>>;

async function compareFresh(bench: Bench, makers: readonly Maker[], endpoint: string): Promise<Pairs> {
  let runs = 0;
  const contenders = makers.map(({ name, command }): Contender => {
    return {
      name,
      start: () => {
        runs += 1;
        const prefix = `fresh-${runs}`;
        // Faster than by the protocol; an object of versitygw is a file.
        const end = (): Promise<void> => rm(join(bench.directory, 's3', bucket, prefix), { recursive: true });
        return { command: command(prefix, endpoint), end };
      },
    };
  });
  return compareTwo(bench, 'first time', contenders, 0.9);
}

async function compareAgain(bench: Bench, makers: readonly Maker[], endpoint: string): Promise<Pairs> {
  const contenders: Contender[] = [];
  for (const [index, { name, command }] of makers.entries()) {
    await measure(pythonOf(bench), command(`kept-${index}`, endpoint));
    contenders.push({ name, start: () => ({ command: command(`kept-${index}`, endpoint) }) });
  }
  return compareTwo(bench, 'nothing changed', contenders);
}

async function compareTwo(bench: Bench, work: string, contenders: readonly Contender[], bar?: number): Promise<Pairs> {
  const [ours, aws] = contenders;
  if (!ours || !aws) return [];
  return bench.compare({ work, ours, peers: [bar === undefined ? { contender: aws } : { contender: aws, bar }] });
}

/** What a run asks the store for when nothing has changed. */
async function countRequests(bench: Bench, makers: readonly Maker[], host: string): Promise<string[]> {
  const proxy = await startProxy(host);
  try {
    const notes: string[] = [];
    for (const [index, { name, command }] of makers.entries()) {
      await measure(pythonOf(bench), command(`kept-${index}`, `http://${proxy.host}`));
      notes.push(`Requests of ${name} with nothing changed: ${methodCounts(proxy.takeRequests())}.`);
    }
    return notes;
  } finally {
    await proxy.close();
  }
}

function pythonOf({ tools }: Bench): string {
  return tools.hubs[0]?.path ?? '';
}
