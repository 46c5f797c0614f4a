import type { HubLayout } from '../commands/import-models.ts';
import type { CommandRow } from './command-row.ts';
import { fromFlag, keyFlags, list, text, trust } from './flags.ts';
import { parseCount } from './size.ts';

/** What is typed in the secure zone. */
export const zoneCommands: readonly CommandRow[] = [
  {
    usage: 'import <bundle>',
    text: 'bring a bundle into the zone: models to S3 or a directory, images to a registry; writes a receipt',
    flags: [
      { flags: '--models <url>', text: 's3://BUCKET/PREFIX or file:///DIR' },
      { flags: '--images <registry>', text: 'HOST[:PORT][/PREFIX]' },
      fromFlag,
      ...keyFlags,
      { flags: '--release <name>', text: 'put the models below URL/NAME/models' },
      {
        flags: '--hub-layout <layout>',
        text: 'how models lie in their target: for SIE, as a full cache with blobs/, or as plain ORG/NAME/FILE',
        choices: ['sie', 'full', 'plain'],
        fallback: 'sie',
      },
      { flags: '--dry-run', text: 'look at the targets, say what would move, write nothing' },
      { flags: '--verify', text: 'read the bytes of what the target has already' },
      { flags: '--receipt <file>', text: 'where the receipt goes (default: NAME.receipt.json)' },
    ],
    examples: [
      'sie-mirror import /media/usb/site-a --models s3://models/2026-11/models --images registry.zone:5000/sie --key sie-mirror.pub.pem',
      'AWS_ENDPOINT_URL_S3=https://minio.zone sie-mirror import /media/usb/site-a --models s3://models/sie/models --ca zone-ca.pem',
    ],
    run: async ([bundle = ''], flags, context) => {
      const { importBundle } = await import('../commands/import.ts');
      return importBundle(
        {
          bundle,
          from: list(flags['from']),
          models: text(flags['models']),
          images: text(flags['images']),
          release: text(flags['release']),
          layout: flags['hubLayout'] as HubLayout,
          dryRun: flags['dryRun'] === true,
          verify: flags['verify'] === true,
          ...trust(flags),
          receipt: text(flags['receipt']),
        },
        context,
      );
    },
  },
  {
    usage: 'smoke <url>',
    text: 'encode a text on the deployed SIE cluster and check that a GPU answered with a real vector',
    flags: [
      { flags: '--model <id>', text: 'exact id of the model', required: true },
      { flags: '--gpu <profile>', text: 'machine profile that has to answer, e.g. l4' },
      { flags: '--dim <n>', text: 'dimensions that the vector must have', parse: parseCount('--dim', 1) },
      {
        flags: '--timeout <seconds>',
        text: 'how long to wait for capacity and loading',
        parse: parseCount('--timeout', 1),
        fallback: 600,
      },
    ],
    examples: [
      'sie-mirror smoke http://sie-gateway.sie:8080 --model BAAI/bge-m3 --gpu l4 --dim 1024',
      'SIE_AUTH_TOKEN=... sie-mirror smoke https://sie.zone --model BAAI/bge-m3 --timeout 120 --json',
    ],
    run: async ([url = ''], flags, context) => {
      const { smoke } = await import('../commands/smoke.ts');
      return smoke(
        {
          url,
          model: String(flags['model']),
          gpu: text(flags['gpu']),
          dim: flags['dim'] as number | undefined,
          timeout: Number(flags['timeout']),
        },
        context,
      );
    },
  },
];
