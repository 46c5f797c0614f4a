import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isExecutable } from '../../test/real/command.ts';
import { uploaderRecipes } from '../../test/real/go-programs.ts';
import { installedProgram } from '../../test/real/recipe.ts';
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
    return `One file of ${sizeText(largeBytes)} and ${small} of 4 KiB to an empty prefix of versitygw: ours straight out of a bundle, the others from a directory in which they lie unpacked. Then once more, with nothing changed.`;
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
      const others = await findOthers(directory, snapshot);
      const make: Maker[] = [oursTo(directory), awsTo(bench, snapshot), ...others.makers];
      const pairs = await compareFresh(bench, make, server.url);
      return {
        pairs: [...pairs, ...(await compareAgain(bench, make, server.url))],
        notes: [...others.notes, ...(await countRequests(bench, make, server.host))],
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

/** Those uploaders that have been built, and notes on which they are. */
async function findOthers(cwd: string, snapshot: string): Promise<{ makers: Maker[]; notes: string[] }> {
  const found: { makers: Maker[]; notes: string[] } = { makers: [], notes: [] };
  for (const { name, wanted } of uploaderRecipes()) {
    const program = installedProgram(name);
    if (!(await isExecutable(program))) {
      found.notes.push(`Without ${name}: \`npx tsx test/real/uploaders.main.ts\` builds it.`);
      continue;
    }
    const argv = uploaderArguments[name];
    if (!argv) throw new Error(`nobody knows how ${name} uploads`);
    found.notes.push(`${name} ${wanted}.`);
    found.makers.push({
      name: `\`${name} sync\``,
      command: (prefix, endpoint) => ({
        argv: [program, ...argv(snapshot, prefix, endpoint)],
        cwd,
        env: environmentOf(endpoint),
      }),
    });
  }
  return found;
}

const uploaderArguments: Record<string, (snapshot: string, prefix: string, endpoint: string) => string[]> = {
  rclone: (snapshot, prefix, endpoint) => {
    const place = `:s3,provider=Other,env_auth,force_path_style,region=us-east-1,endpoint="${endpoint}":${bucket}/${prefix}`;
    return ['sync', '--config', '/dev/null', '--copy-links', snapshot, place];
  },
  s5cmd: (snapshot, prefix, endpoint) => {
    const settings = ['--endpoint-url', endpoint, '--log', 'error'];
    return [...settings, 'sync', `${snapshot}/`, `s3://${bucket}/${prefix}/`];
  },
};

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
  return compareAll(bench, 'first time', contenders, 0.9);
}

async function compareAgain(bench: Bench, makers: readonly Maker[], endpoint: string): Promise<Pairs> {
  const contenders: Contender[] = [];
  for (const [index, { name, command }] of makers.entries()) {
    await measure(pythonOf(bench), command(`kept-${index}`, endpoint));
    contenders.push({ name, start: () => ({ command: command(`kept-${index}`, endpoint) }) });
  }
  return compareAll(bench, 'nothing changed', contenders);
}

async function compareAll(bench: Bench, work: string, contenders: readonly Contender[], bar?: number): Promise<Pairs> {
  const [ours, ...peers] = contenders;
  if (!ours) return [];
  const limit = bar === undefined ? {} : { bar };
  return bench.compare({ work, ours, peers: peers.map((contender) => ({ contender, ...limit })) });
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
