import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { Receipt } from '../../src/bundle/records/receipt.ts';
import { values, type ValuesOptions } from '../../src/commands/values.ts';
import type { Report } from '../../src/core/report.ts';
import { testContext } from './context.ts';
import { temporaryDirectory } from './place.ts';
import { mirrored, receivedModel, sieReferences, writeReceipt } from './receipts.ts';

export const zone = 'registry.zone:5000/mirror';
export const models = 's3://models/2026-11/models';

/** A zone with SIE 0.3.4 and one model. */
export const whole: Partial<Receipt> = {
  targets: { models, images: zone },
  models: [receivedModel('BAAI/bge-m3', ['config.json', 'model.safetensors'])],
  images: mirrored(zone, sieReferences('0.3.4')),
};

/** Runs of `values` in a directory of its own for each test of a file. */
export function valuesRuns(): ValuesRuns {
  const runs = new ValuesRuns();
  let place: Awaited<ReturnType<typeof temporaryDirectory>>;
  beforeEach(async () => {
    place = await temporaryDirectory();
    runs.directory = place.path;
  });
  afterEach(async () => {
    await place[Symbol.asyncDispose]();
  });
  return runs;
}

/** Runs `values` in a directory, and reads what it left in `deploy` there. */
class ValuesRuns {
  directory = '';
  /** Of the last run. */
  warnings: string[] = [];

  /** Without the settings that say otherwise, everything that the receipt has something for. */
  async run(
    receipt: Partial<Receipt>,
    options: Partial<ValuesOptions> = {},
    settings: { env?: Record<string, string>; insecureHosts?: string[] } = {},
  ): Promise<Report> {
    const path = await writeReceipt(this.directory, receipt);
    const { context, events } = await testContext({ cwd: this.directory, ...settings });
    try {
      return await values(
        { receipt: path, out: 'deploy', consumers: [], pullSecret: 'regcred', force: false, ...options },
        context,
      );
    } finally {
      this.warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
      await context.close();
    }
  }

  /** Path of a file of `deploy`. */
  path(name: string): string {
    return join(this.directory, 'deploy', name);
  }

  async text(name: string): Promise<string> {
    return readFile(this.path(name), 'utf8');
  }

  async yaml(name: string): Promise<unknown> {
    return parse(await this.text(name));
  }

  async documents(name: string): Promise<unknown[]> {
    return parseAllDocuments(await this.text(name)).map((document) => document.toJS() as unknown);
  }
}
