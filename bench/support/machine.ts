import { availableParallelism, cpus, totalmem } from 'node:os';
import type { Tools } from '../../test/real/tools.ts';

const peers = ['crane', 'registry', 'versitygw', 'aws', 'huggingface_hub', 'openssl', 'curl', 'tar', 'sha256sum'];

/** What the numbers depend on, in one line. */
export function machineLine(tools: Tools, place: string): string {
  const versions = tools.rows
    .filter(({ name }) => peers.includes(name.split(' ')[0] ?? ''))
    .map(({ name, version }) => `${name.split(' ')[0]} ${version.replace(/^v/, '')}`);
  const model = cpus()[0]?.model ?? 'unknown processor';
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB`;
  const machine = `${availableParallelism()} cores (${model}), ${memory}, ${place}, Node.js ${process.versions.node}`;
  return `${machine}; ${versions.join(', ')}`;
}
