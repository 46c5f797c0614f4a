import { type Filter, presets } from '../hub/selection/filter.ts';
import { type RepoType, repoTypes } from '../hub/repo.ts';
import type { CommandRow } from './command-row.ts';
import { collect, denied, denyFlag, keyFlags, list, signFlags, signing, storeFlag, text, trust } from './flags.ts';
import { keepHeapSmall } from '../core/engine.ts';
import { parseCount, parseSize, parseVolumeSize } from './size.ts';
import { standardInput } from './standard-input.ts';

const verifyFlag = {
  flags: '--verify',
  text: 'read every byte of what is there already, and fetch again what was changed',
};

/** What is typed where there is internet: from the mirror manifest to the sealed bundle. */
export const onlineCommands: readonly CommandRow[] = [
  {
    usage: 'plan <manifest>',
    text: 'pin everything that a mirror manifest names; fetches no content',
    flags: [{ flags: '--out <file>', text: 'where the lock goes', fallback: 'mirror.lock.json' }, denyFlag],
    examples: ['sie-mirror plan mirror.yaml', 'sie-mirror plan mirror.yaml --out site-a.lock.json --json'],
    run: async ([manifest = ''], flags, context) =>
      (await import('../commands/plan.ts')).plan(
        { manifest, out: String(flags['out']), deny: await denied(flags['deny']) },
        context,
      ),
  },
  {
    usage: 'pull <manifest>',
    text: 'fetch everything that a mirror manifest or a lock names into the store',
    flags: [storeFlag, denyFlag, verifyFlag],
    examples: [
      'sie-mirror pull mirror.yaml',
      'sie-mirror pull mirror.lock.json --store /data/store',
      'sie-mirror pull ./sie-mirror-store/mirror.lock.json --verify',
    ],
    run: async ([manifest = ''], flags, context) =>
      (await import('../commands/pull.ts')).pull(
        {
          manifest,
          store: String(flags['store']),
          deny: await denied(flags['deny']),
          verify: flags['verify'] === true,
        },
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
      verifyFlag,
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
      {
        flags: '--from-file <list>',
        text: 'one image a line, and where it goes if not below TARGET by its own name; - is standard input',
      },
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
          input: () => standardInput(context.signal),
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
      {
        flags: '--out <dir>',
        text: 'the bundle becomes a directory below this one; given again: the next medium, when this one is full',
        required: true,
        parse: collect,
      },
      {
        flags: '--medium-size <size>',
        text: 'the most that goes to one --out: 25GB, dvd, dvd-dl, bd25, bd50 (default: what is free)',
        parse: parseSize,
      },
      { flags: '--name <name>', text: 'name of the bundle (default: that of the lock, or sie-mirror-bundle)' },
      {
        flags: '--volume-size <size>',
        text: 'largest size of a volume: 700MiB, 25GB, fat32 (default: 4GiB-1); dvd, dvd-dl, bd25, bd50 leave room for the rest of the bundle',
        parse: parseVolumeSize,
      },
      {
        flags: '--volumes-at-once <n>',
        text: 'how many volumes to write at a time (default: 1 where a medium turns or can be taken out, else one a core, up to 4)',
        parse: parseCount('--volumes-at-once', 1),
      },
      {
        flags: '--base <file>',
        text: 'a receipt of the zone, an inventory or a bundle: leave out every blob that it holds',
      },
      {
        flags: '--base-key <pub.pem>',
        text: 'public key that must have signed the base, as `import --sign` does; can be given again',
        parse: collect,
      },
      ...signFlags('SHA256SUMS'),
      {
        flags: '--with-node <platform=file>',
        text: 'bring a Node.js along for a zone that has none, e.g. linux-x64=node-v24-linux-x64.tar.gz; can be given again',
        parse: collect,
      },
    ],
    examples: [
      'sie-mirror bundle --out /media/usb --sign sie-mirror.key.pem',
      'sie-mirror bundle --store /data/store --out /media/usb --name site-a --volume-size 700MiB',
      'sie-mirror bundle --out /media/usb --name site-a-2 --base site-a.receipt.json',
      'sie-mirror bundle --out /media/usb --with-node linux-x64=node-v24.14.0-linux-x64.tar.gz',
    ],
    run: async (_, flags, context) => {
      const { bundle } = await import('../commands/bundle.ts');
      keepHeapSmall();
      return bundle(
        {
          store: String(flags['store']),
          out: list(flags['out'])[0] ?? '',
          moreOut: list(flags['out']).slice(1),
          mediumSize: flags['mediumSize'] as number | undefined,
          name: text(flags['name']),
          volumeSize: flags['volumeSize'] as number | undefined,
          volumesAtOnce: flags['volumesAtOnce'] as number | undefined,
          ...signing(flags),
          base: text(flags['base']),
          withNode: list(flags['withNode']),
          baseKeys: list(flags['baseKey']),
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
