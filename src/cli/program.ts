import { Command, CommanderError, Option } from 'commander';
import type { Context } from '../commands/context.ts';
import type { TrustOptions } from '../commands/sealed.ts';
import { MirrorError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import { version } from '../core/version.ts';
import { type Filter, presets } from '../hub/filter.ts';
import { type RepoType, repoTypes } from '../hub/repo.ts';
import type { DenyRule } from '../hub/policy.ts';
import { parseCount, parseSize } from './size.ts';

/** Flags that every command takes, as parsed. */
export interface CommonFlags {
  json?: boolean;
  progress: 'auto' | 'tty' | 'plain' | 'json' | 'none';
  quiet?: boolean;
  verbose?: boolean;
  concurrency?: number;
  retries?: number;
  ca?: string;
  insecureHost?: string[];
  hostsDir?: string;
}

/** What was asked for: a command, ready to run in a context. */
export interface Invocation {
  command: string;
  flags: CommonFlags;
  /** Files that the report is written to as well. */
  outputs: { junit?: string; html?: string };
  run: (context: Context) => Promise<Report>;
}

interface Flag {
  flags: string;
  text: string;
  parse?: (value: string, before: unknown) => unknown;
  fallback?: unknown;
  required?: boolean;
  choices?: readonly string[];
}

/** One row of the table of commands. Commands are loaded when they run: `--help` must not wait for them. */
interface Row {
  usage: string;
  text: string;
  flags: Flag[];
  examples: string[];
  run: (args: string[], flags: Record<string, unknown>, context: Context) => Promise<Report>;
}

const storeFlag: Flag = {
  flags: '--store <dir>',
  text: 'the working directory on the online side',
  fallback: './sie-mirror-store',
};
const keyFlags: Flag[] = [
  {
    flags: '--key <pub.pem>',
    text: 'public key of the maker, or of who approved; can be given again; without it no signature is checked',
    parse: collect,
  },
  {
    flags: '--require <n>',
    text: 'how many different keys of those given must have signed (default: 1)',
    parse: parseCount('--require', 1),
  },
];

const passphraseFlag: Flag = {
  flags: '--passphrase-file <file>',
  text: 'passphrase of an encrypted private key (or SIE_MIRROR_PASSPHRASE, COSIGN_PASSWORD)',
};
const junitFlag: Flag = { flags: '--junit <file>', text: 'write the verdict as a JUnit test report, for CI' };

const denyFlag: Flag = {
  flags: '--deny <rules>',
  text: 'fetch nothing when a model has any of: pickle, unsafe-pickle, remote-code, no-licence, gated, malformed',
};

const rows: Row[] = [
  {
    usage: 'plan <manifest>',
    text: 'pin everything that a mirror manifest names; fetches no content',
    flags: [{ flags: '--out <file>', text: 'where the lock goes', fallback: 'mirror.lock.json' }],
    examples: ['sie-mirror plan mirror.yaml', 'sie-mirror plan mirror.yaml --out site-a.lock.json --json'],
    run: async ([manifest = ''], flags, context) =>
      (await import('../commands/plan.ts')).plan({ manifest, out: String(flags['out']) }, context),
  },
  {
    usage: 'pull <manifest>',
    text: 'fetch everything that a mirror manifest or a lock names into the store',
    flags: [storeFlag, denyFlag],
    examples: ['sie-mirror pull mirror.yaml', 'sie-mirror pull mirror.lock.json --store /data/store'],
    run: async ([manifest = ''], flags, context) =>
      (await import('../commands/pull.ts')).pull(
        { manifest, store: String(flags['store']), deny: await denied(flags['deny']) },
        context,
      ),
  },
  {
    usage: 'snapshot [repo...]',
    text: 'fetch Hugging Face repos (ORG/NAME or ORG/NAME@REVISION) into the store',
    flags: [
      storeFlag,
      { flags: '--type <type>', text: 'kind of repo', choices: repoTypes, fallback: 'model' },
      {
        flags: '--include <pattern>',
        text: 'only files that fit, e.g. `*.safetensors`; `*` goes over `/` too; can be given again',
        parse: collect,
      },
      { flags: '--exclude <pattern>', text: 'no files that fit; can be given again', parse: collect },
      {
        flags: '--filter <preset>',
        text: '`sie`: what an SIE worker would fetch; `all`: every file',
        choices: presets,
        fallback: 'all',
      },
      {
        flags: '--with-companions',
        text: 'also the repos that its files name: base models of adapters, remote code, backbones, tokenizers',
      },
      { flags: '--dry-run', text: 'list files, sizes, and why each is in or out; fetch nothing' },
      {
        flags: '--adopt <dir>',
        text: 'take files from this Hugging Face cache (HF_HUB_CACHE) when their bytes are right',
      },
      denyFlag,
      { flags: '--verify', text: 'read every byte of what is there already, and fetch again what was changed' },
      { flags: '--offline', text: 'compare the store with its lock, every byte, without a network' },
    ],
    examples: [
      'sie-mirror snapshot BAAI/bge-m3 --filter sie --with-companions',
      "sie-mirror snapshot BAAI/bge-m3 --include '*.json' --include '*.safetensors' --dry-run",
      'sie-mirror snapshot --type dataset rajpurkar/squad --store /data/store',
      'sie-mirror snapshot BAAI/bge-m3 --deny unsafe-pickle,remote-code,no-licence',
      'sie-mirror snapshot --offline --store /data/store',
      'HF_TOKEN=hf_... sie-mirror snapshot intfloat/e5-base-v2@v1.0 google/embeddinggemma-300m --store /data/store',
    ],
    run: async (repos, flags, context) => {
      const { snapshot } = await import('../commands/snapshot.ts');
      return snapshot(
        {
          repos,
          store: String(flags['store']),
          type: flags['type'] as RepoType,
          filter: {
            preset: flags['filter'] as Filter['preset'],
            include: (flags['include'] as string[] | undefined) ?? [],
            exclude: (flags['exclude'] as string[] | undefined) ?? [],
          },
          companions: flags['withCompanions'] === true,
          dryRun: flags['dryRun'] === true,
          adopt: text(flags['adopt']),
          verify: flags['verify'] === true,
          offline: flags['offline'] === true,
          deny: await denied(flags['deny']),
        },
        context,
      );
    },
  },
  {
    usage: 'copy [source] [target]',
    text: 'copy images with all their platforms, signatures and referrers between registries and OCI layouts, or out of an archive or a bundle',
    flags: [
      {
        flags: '--platform <list>',
        text: 'only these: os/architecture[/variant], with commas or given again; makes a smaller index with a digest of its own',
        parse: collect,
      },
      { flags: '--sparse', text: 'keep the index as it is though not all of its platforms go over' },
      { flags: '--all-tags', text: 'every image of the source repository; the target is a repository' },
      { flags: '--tags <glob>', text: 'those whose tag fits, e.g. "v1.*"; can be given again', parse: collect },
      { flags: '--from-file <list>', text: 'one image a line, and where it goes if not below TARGET by its own name' },
      { flags: '--dry-run', text: 'say what would move, and write nothing' },
      { flags: '--include-foreign', text: 'fetch foreign layers from their owners and push them too' },
      { flags: '--no-referrers', text: 'leave out signatures, attestations, SBOMs and other referrers' },
      ...keyFlags,
    ],
    examples: [
      'sie-mirror copy nats:2.12.6-alpine oci:./sie-mirror-store/oci',
      'sie-mirror copy oci:./layout:docker.io/library/nats:2.12.6-alpine registry.zone:5000/sie/nats --insecure-host registry.zone:5000',
      'sie-mirror copy docker-archive:./app.tar registry.zone:5000/team/app:v1',
      'sie-mirror copy nats:2.12.6-alpine registry.zone/sie/nats --platform linux/amd64,linux/arm64',
      'sie-mirror copy ghcr.io/org/image registry.zone/org/image --tags "v1.*" --dry-run',
      'sie-mirror copy --from-file images.txt registry.zone/mirror',
    ],
    run: async ([source, target], flags, context) => {
      const { copy } = await import('../commands/copy.ts');
      return copy(
        {
          source,
          target,
          referrers: flags['referrers'] !== false,
          platforms: list(flags['platform']),
          sparse: flags['sparse'] === true,
          allTags: flags['allTags'] === true,
          tags: list(flags['tags']),
          fromFile: text(flags['fromFile']),
          dryRun: flags['dryRun'] === true,
          includeForeign: flags['includeForeign'] === true,
          ...trust(flags),
        },
        context,
      );
    },
  },
  {
    usage: 'bundle',
    text: 'seal the store as a bundle that can be carried: volumes, checksums, signature, this tool',
    flags: [
      storeFlag,
      { flags: '--out <dir>', text: 'the bundle becomes a directory below this one', required: true },
      { flags: '--name <name>', text: 'name of the bundle (default: that of the lock, or sie-mirror-bundle)' },
      {
        flags: '--volume-size <size>',
        text: 'largest size of a volume: 700MiB, 25GB, fat32, dvd, dvd-dl, bd25, bd50 (default: fat32, which is 4GiB-1)',
        parse: parseSize,
      },
      {
        flags: '--base <file>',
        text: 'a receipt of the zone, an inventory or a bundle: leave out every blob that it holds',
      },
      { flags: '--sign <key>', text: 'private key to sign with, from `sie-mirror keygen`, openssl or cosign' },
      passphraseFlag,
      {
        flags: '--sign-cmd <command>',
        text: 'sign with a command: SHA256SUMS on its input, the signature on its output',
      },
      { flags: '--sign-pub <pub.pem>', text: 'public key of what `--sign-cmd` signs with' },
    ],
    examples: [
      'sie-mirror bundle --out /media/usb --sign sie-mirror.key.pem',
      'sie-mirror bundle --store /data/store --out /media/usb --name site-a --volume-size 700MiB',
      'sie-mirror bundle --out /media/usb --name site-a-2 --base site-a.receipt.json',
    ],
    run: async (_, flags, context) => {
      const { bundle } = await import('../commands/bundle.ts');
      return bundle(
        {
          store: String(flags['store']),
          out: String(flags['out']),
          name: text(flags['name']),
          volumeSize: flags['volumeSize'] as number | undefined,
          sign: text(flags['sign']),
          signCommand: text(flags['signCmd']),
          signPublic: text(flags['signPub']),
          passphraseFile: text(flags['passphraseFile']),
          base: text(flags['base']),
        },
        context,
      );
    },
  },
  {
    usage: 'verify <bundle>',
    text: 'check a bundle: signature, exact set of files, every byte; offline, read-only',
    flags: [
      ...keyFlags,
      { flags: '--partial', text: 'check the volumes that are here; the others are no fault' },
      junitFlag,
      { flags: '--html <file>', text: 'write the verdict as one page of evidence, for people and paper' },
    ],
    examples: [
      'sie-mirror verify /media/usb/site-a --key sie-mirror.pub.pem',
      'sie-mirror verify /media/usb/site-a --require 2 --key maker.pem --key officer.pem --html evidence.html',
      'node /media/usb/site-a/sie-mirror.mjs verify /media/usb/site-a --key sie-mirror.pub.pem --json',
    ],
    run: async ([bundle = ''], flags, context) =>
      (await import('../commands/verify.ts')).verify(
        { bundle, partial: flags['partial'] === true, ...trust(flags) },
        context,
      ),
  },
  {
    usage: 'approve <bundle>',
    text: 'add the signature of a second person to a bundle that its maker has signed',
    flags: [
      { flags: '--key <key>', text: 'private key of who approves', required: true },
      passphraseFlag,
      { flags: '--maker <pub.pem>', text: "the maker's public key: their signature is checked first", required: true },
      { flags: '--role <role>', text: 'in what capacity', fallback: 'approver' },
      { flags: '--comment <text>', text: 'what is to be remembered of it' },
    ],
    examples: [
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem',
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem --role security-officer --comment CAB-4711',
    ],
    run: async ([bundle = ''], flags, context) => {
      const { approve } = await import('../commands/approve.ts');
      return approve(
        {
          bundle,
          key: String(flags['key']),
          passphraseFile: text(flags['passphraseFile']),
          maker: String(flags['maker']),
          role: String(flags['role']),
          comment: text(flags['comment']),
        },
        context,
      );
    },
  },
  {
    usage: 'inspect <bundle>',
    text: 'show what is in a bundle, by its inventory; or what differs from another one',
    flags: [
      ...keyFlags,
      {
        flags: '--diff <other>',
        text: 'what came, went and changed in OTHER; both may be a bundle, an inventory, a receipt or a lock',
      },
    ],
    examples: [
      'sie-mirror inspect /media/usb/site-a',
      'sie-mirror inspect /media/usb/site-a --json',
      'sie-mirror inspect site-a.receipt.json --diff /media/usb/site-a-2',
    ],
    run: async ([bundle = ''], flags, context) => {
      const other = text(flags['diff']);
      if (other === undefined)
        return (await import('../commands/inspect.ts')).inspect({ bundle, ...trust(flags) }, context);
      return (await import('../commands/diff.ts')).diff({ before: bundle, after: other, ...trust(flags) }, context);
    },
  },
  {
    usage: 'import <bundle>',
    text: 'bring a bundle into the zone: models to S3 or a directory, images to a registry; writes a receipt',
    flags: [
      { flags: '--models <url>', text: 's3://BUCKET/PREFIX or file:///DIR' },
      { flags: '--images <registry>', text: 'HOST[:PORT][/PREFIX]' },
      ...keyFlags,
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
          models: text(flags['models']),
          images: text(flags['images']),
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
  {
    usage: 'keygen',
    text: 'make an ECDSA P-256 key pair that openssl and cosign read',
    flags: [
      { flags: '--out <dir>', text: 'where the two files go', fallback: '.' },
      { flags: '--passphrase-file <file>', text: 'encrypt the private key with the passphrase in this file' },
    ],
    examples: ['sie-mirror keygen', 'sie-mirror keygen --out ~/keys --passphrase-file ~/passphrase'],
    run: async (_, flags, context) => {
      const { keygen } = await import('../commands/keygen.ts');
      return keygen({ out: String(flags['out']), passphraseFile: text(flags['passphraseFile']) }, context);
    },
  },
];

const commonFlags: Flag[] = [
  { flags: '--json', text: 'print the result as one JSON document' },
  { flags: '-q, --quiet', text: 'say nothing but results, warnings and errors' },
  { flags: '-v, --verbose', text: 'show the causes behind an error' },
  {
    flags: '--concurrency <n>',
    text: 'large transfers at once, and five times as many small ones (default: 6)',
    parse: parseCount('--concurrency', 1),
  },
  {
    flags: '--retries <n>',
    text: 'how often to try again what may pass (default: 4)',
    parse: parseCount('--retries', 0),
  },
  { flags: '--ca <file>', text: 'PEM file of certificate authorities to trust beside the public ones' },
  {
    flags: '--insecure-host <host>',
    text: 'registry (HOST or HOST:PORT) to be spoken to by plain HTTP; can be given again',
    parse: collect,
  },
  {
    flags: '--hosts-dir <dir>',
    text: 'mirrors and certificates of registries, as containerd has them (default: /etc/containerd/certs.d)',
  },
];

const exitCodes = `
Exit codes: 0 done, 2 usage, 3 incomplete (run again), 4 integrity, 5 unreachable, 6 not authorised, 7 not found,
8 refused by the target, 9 smoke test failed, 130/143 interrupted, 1 a bug. See docs/exit-codes.md.`;

/**
 * Reads the command line. Help and version are printed by commander, and come back as undefined.
 * @throws E_USAGE
 */
export function parseCommandLine(
  argv: readonly string[],
  out: (text: string) => void,
  err: (text: string) => void,
): Invocation | undefined {
  let found: Invocation | undefined;
  const program = new Command('sie-mirror')
    .description('Carries everything an inference cluster needs across an air gap, and proves that it arrived.')
    .version(version)
    .showHelpAfterError('(see --help)')
    .addHelpText('after', `\nThe journey: pull -> bundle == USB ==> verify -> import -> smoke\n${exitCodes}`);
  for (const row of rows) {
    addRow(program, row, (invocation) => {
      found = invocation;
    });
  }
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput({ writeOut: out, writeErr: err });
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    // Commander has printed what is wrong already.
    throw new MirrorError('E_USAGE', '', { cause: error });
  }
  return found;
}

function addRow(program: Command, row: Row, choose: (invocation: Invocation) => void): void {
  const command = program.command(row.usage).description(row.text);
  for (const flag of [...row.flags, ...commonFlags]) command.addOption(toOption(flag));
  command.addOption(
    new Option('--progress <kind>', 'how progress is shown, on standard error')
      .choices(['auto', 'tty', 'plain', 'json', 'none'])
      .default('auto'),
  );
  command.addHelpText(
    'after',
    `\nExamples:\n${row.examples.map((example) => `  $ ${example}`).join('\n')}\n${exitCodes}`,
  );
  command.action((...given: unknown[]) => {
    const flags = command.opts<Record<string, unknown>>();
    // An argument that may be left out comes as undefined.
    const args = given
      .slice(0, -2)
      .flat()
      .filter((each) => each !== undefined)
      .map(String);
    choose({
      command: command.name(),
      flags: flags as unknown as CommonFlags,
      outputs: flags,
      run: (context) => row.run(args, flags, context),
    });
  });
}

function toOption(flag: Flag): Option {
  const option = new Option(flag.flags, flag.text);
  if (flag.parse) option.argParser(flag.parse);
  if (flag.choices) option.choices(flag.choices);
  if (flag.fallback !== undefined) option.default(flag.fallback);
  if (flag.required) option.makeOptionMandatory();
  return option;
}

/** The rules of `--deny`; none when it was not given. @throws E_USAGE */
async function denied(value: unknown): Promise<DenyRule[]> {
  return value === undefined ? [] : (await import('../hub/policy.ts')).parseDeny(text(value) ?? '');
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function trust(flags: Record<string, unknown>): TrustOptions {
  return { keys: flags['key'] as string[] | undefined, require: flags['require'] as number | undefined };
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

/** For flags that may be given more than once. */
function collect(value: string, before: unknown): string[] {
  return [...(Array.isArray(before) ? before.map(String) : []), value];
}
