import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { projectRoot } from '../support/cli.ts';
import { installTools } from './tools.ts';

/**
 * Installs the real servers and clients, runs the tests against them, and then the unit tests and those of the real binary
 * on every supported Node.js but the one that runs this.
 */
async function main(): Promise<number> {
  const tools = await installTools();
  const skipped = tools.rows.filter((row) => row.skipped !== undefined);
  const vitest = resolve(projectRoot, 'node_modules/vitest/vitest.mjs');
  const real = await run(process.execPath, [vitest, 'run', '--project', 'real', ...process.argv.slice(2)]);
  let worst = real;
  const results = [`real servers and clients: ${verdict(real)}`];
  const others = tools.nodes.filter(({ version }) => version.split('.')[0] !== process.versions.node.split('.')[0]);
  for (const node of process.argv.length > 2 ? [] : others) {
    const code = await run(node.path, [vitest, 'run', '--project', 'unit', '--project', 'e2e', ...wholeJourneys]);
    results.push(`Node.js ${node.version}: ${verdict(code)}`);
    worst = Math.max(worst, code);
  }
  for (const row of skipped) results.push(`${row.name} ${row.version}: skipped, ${row.skipped}`);
  console.log(`\n${results.join('\n')}`);
  return worst;
}

/** What every version of Node.js has to do; the rest differs by the servers, not by Node.js. */
const wholeJourneys = ['test/unit/', 'test/e2e/journey', 'test/e2e/copy', 'test/e2e/delta', 'test/e2e/golden'];

function verdict(code: number): string {
  return code === 0 ? 'passed' : `FAILED (exit ${code})`;
}

async function run(command: string, args: string[]): Promise<number> {
  console.log(`\n> ${[command, ...args].join(' ')}`);
  return new Promise((done, reject) => {
    const child = spawn(command, args, { cwd: projectRoot, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => done(code ?? 1));
  });
}

process.exitCode = await main();
