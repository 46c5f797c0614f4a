import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { VersionedTool } from '../../test/real/tools.ts';
import type { Bench } from './bench-case.ts';
import type { Comparison, Contender } from './compare.ts';
import { type HubPlan, type HubProcess, largeFile } from './hub-process.ts';
import type { Command } from './measure.ts';
import { ours } from './ours.ts';
import { mebi, scaled } from './sizes.ts';

/** Beside this one, which verifies nothing. */
const oldestBar = 1.1;

export function planOf(scale: number): HubPlan {
  return { largeBytes: scaled(1536 * mebi, scale), small: scaled(1500, scale), smallBytes: 2048 };
}

/** The newest and the oldest `hf`. */
export function hubTools({ tools }: Bench): { newest: VersionedTool; oldest: VersionedTool } {
  const [oldest, newest] = [tools.hubs.at(0), tools.hubs.at(-1)];
  if (!oldest || !newest) throw new Error('no huggingface_hub is installed');
  return { oldest, newest };
}

/** Ours beside both, each time into an empty store. @param bar beside the newest */
export function beside(bench: Bench, hub: HubProcess, work: string, repo: string, bar: number): Comparison {
  const { oldest, newest } = hubTools(bench);
  return {
    work,
    ours: onFreshStore(bench, 'sie-mirror', oursOf(bench, hub, repo)),
    peers: [
      { contender: onFreshStore(bench, nameOf(newest), hfOf(bench, newest, hub, repo)), bar },
      { contender: onFreshStore(bench, nameOf(oldest), hfOf(bench, oldest, hub, repo)), bar: oldestBar },
    ],
  };
}

export function onFreshStore({ directory }: Bench, name: string, command: Command): Contender {
  const clear = (): Promise<void> => rm(join(directory, 'store'), { recursive: true, force: true });
  return { name, start: () => ({ command, end: clear }) };
}

export function oursOf({ directory }: Bench, hub: HubProcess, repo: string): Command {
  return ours(['snapshot', repo, '--store', join(directory, 'store')], directory, { HF_ENDPOINT: hub.url });
}

/** @param xet whether it may use hf_xet */
export function hfOf({ directory }: Bench, tool: VersionedTool, hub: HubProcess, repo: string, xet = false): Command {
  const script = 'from huggingface_hub.cli.hf import main; main()';
  return {
    argv: [tool.path, '-c', script, 'download', repo],
    cwd: directory,
    env: {
      HF_ENDPOINT: hub.url,
      HF_HUB_CACHE: join(directory, 'store/hub'),
      HF_HOME: join(directory, 'store/home'),
      ...(xet ? {} : { HF_HUB_DISABLE_XET: '1' }),
      HF_HUB_DISABLE_TELEMETRY: '1',
      HF_HUB_DISABLE_UPDATE_CHECK: '1',
    },
  };
}

export const stockName = '`curl`, through `tee` into `openssl dgst`';

/** What stock tools need to fetch the large file, and to know its sha256. */
export function stockOf({ directory, tools }: Bench, hub: HubProcess, repo: string): Command {
  const address = `${hub.url}/${repo}/resolve/main/${largeFile}`;
  const fetched = join(directory, 'store', largeFile);
  const script = `${tools.curl} -sSfL "$0" | tee "$1" | ${tools.openssl} dgst -sha256`;
  return { argv: ['bash', '-o', 'pipefail', '-c', `mkdir -p store && ${script}`, address, fetched], cwd: directory };
}

export function nameOf({ version }: VersionedTool): string {
  return `\`hf download\` ${version}`;
}
