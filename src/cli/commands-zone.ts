import { credentialKinds, type CredentialKind } from '../values/credential-kind.ts';
import type { HubLayout } from '../commands/import/models.ts';
import type { OciForm } from '../commands/import/model-image.ts';
import type { CommandRow } from './command-row.ts';
import { collect, fromFlag, junitFlag, keyFlags, list, signFlags, signing, text, trust } from './flags.ts';
import { smokeFlags, smokeOptions, smokeSubject } from './smoke-flags.ts';

/** What is typed in the secure zone. */
export const zoneCommands: readonly CommandRow[] = [
  {
    usage: 'import <bundle>',
    text: 'bring a bundle into the zone, or with --as a file or directory; writes a receipt',
    flags: [
      {
        flags: '--models <url>',
        text: 's3://BUCKET/PREFIX, gs://BUCKET/PREFIX, file:///DIR or oci://HOST[:PORT][/PREFIX]',
      },
      {
        flags: '--oci-form <form>',
        text: 'what models are below oci://: an image with its files below models/, or a ModelPack artifact (default: image)',
        choices: ['image', 'modelpack'],
      },
      {
        flags: '--oci-base <image>',
        text: "image whose layers lie below the files of a model, as copy names its source: busybox, for KServe's modelcar mode",
      },
      { flags: '--images <registry>', text: 'HOST[:PORT][/PREFIX]; charts too, unless --charts is given' },
      { flags: '--charts <place>', text: 'oci://HOST[:PORT][/PREFIX], or a directory or s3:// for the .tgz files' },
      { flags: '--files <place>', text: 'single files and licences: a directory or s3://BUCKET/PREFIX' },
      fromFlag,
      ...keyFlags,
      {
        flags: '--as <name>',
        text: 'what is given is no bundle but one file, or a directory: the model NAME or ORG/NAME',
      },
      { flags: '--sha256 <hex>', text: 'with --as: what the one file is held to (default: computed, and said)' },
      { flags: '--release <name>', text: 'put the models below URL/NAME/models' },
      {
        flags: '--hub-layout <layout>',
        text: 'how models lie in their target: for SIE, as a full cache with blobs/, or as plain ORG/NAME/FILE (default: sie, with --as plain)',
        choices: ['sie', 'full', 'plain'],
      },
      { flags: '--dry-run', text: 'look at the targets, say what would move or be removed, write nothing' },
      {
        flags: '--shard <i/n>',
        text: "bring this machine's share, I from 0 to N-1; N alone takes I from JOB_COMPLETION_INDEX",
      },
      { flags: '--finish', text: 'when all shards are done: prove what they brought, and make it visible' },
      { flags: '--prune', text: 'remove what imports before this one put there and this bundle does not hold' },
      { flags: '--repair', text: 'remove or mend what disturbs readers: folder markers, blobs/, wrong lists and refs' },
      { flags: '--verify', text: 'read the bytes of what the target has already; ask a registry for every blob' },
      { flags: '--receipt <file>', text: 'where the receipt goes (default: NAME.receipt.json)' },
      ...signFlags('the receipt'),
    ],
    examples: [
      'sie-mirror import /media/usb/site-a --models s3://models/2026-11/models --images registry.zone:5000/sie --key sie-mirror.pub.pem',
      'sie-mirror import /mnt/models/qwen3-8b-q4_k_m.gguf --as qwen3-8b --models s3://models/llm',
      'sie-mirror import /media/usb/site-a --models oci://registry.zone:5000/models --charts oci://registry.zone:5000/charts --key sie-mirror.pub.pem',
      'AWS_ENDPOINT_URL_S3=https://minio.zone sie-mirror import /media/usb/site-a --models s3://models/sie/models --ca zone-ca.pem',
    ],
    run: async ([bundle = ''], flags, context) => {
      const target = {
        models: text(flags['models']),
        ociForm: flags['ociForm'] as OciForm | undefined,
        ociBase: text(flags['ociBase']),
        release: text(flags['release']),
        layout: flags['hubLayout'] as HubLayout | undefined,
        dryRun: flags['dryRun'] === true,
        verify: flags['verify'] === true,
        receipt: text(flags['receipt']),
        ...signing(flags),
      };
      const given = {
        from: list(flags['from']),
        images: text(flags['images']),
        charts: text(flags['charts']),
        files: text(flags['files']),
        ...trust(flags),
      };
      const local = { as: text(flags['as']), sha256: text(flags['sha256']) };
      if (local.as !== undefined || local.sha256 !== undefined) {
        const { importLocal } = await import('../commands/import/local.ts');
        return importLocal({ path: bundle, ...target, ...given, ...local }, context);
      }
      const { importBundle } = await import('../commands/import.ts');
      return importBundle(
        {
          bundle,
          ...target,
          ...given,
          shard: text(flags['shard']),
          finish: flags['finish'] === true,
          prune: flags['prune'] === true,
          repair: flags['repair'] === true,
        },
        context,
      );
    },
  },
  {
    usage: 'values <receipt>',
    text: 'files that put the cluster on what was imported: Helm values, hosts.toml, secrets to fill in, examples',
    flags: [
      { flags: '--out <dir>', text: 'write the files below this directory (default: print them)' },
      {
        flags: '--for <consumers>',
        text: 'sie, containerd, llmkube, kserve, vllm, image-volume, nim, datarobot; with commas or given again (default: all that the receipt has something for)',
        parse: collect,
      },
      { flags: '--sie-version <version>', text: 'release of the chart (default: that of the images)' },
      {
        flags: '--credentials <kind>',
        text: 'how pods read the bucket (default: secret, for gs:// workload-identity)',
        choices: credentialKinds,
      },
      { flags: '--identity <name>', text: 'role ARN or Google service account, for irsa and workload-identity' },
      { flags: '--endpoint <url>', text: 'address of the S3 store (default: AWS_ENDPOINT_URL_S3)' },
      { flags: '--region <name>', text: 'region of the bucket (default: AWS_REGION)' },
      { flags: '--pull-secret <name>', text: 'Secret to pull images with', fallback: 'regcred' },
      { flags: '--force', text: 'write over files that were changed or are not from here' },
    ],
    examples: [
      'sie-mirror values site-a.receipt.json --out deploy',
      'sie-mirror values site-a.receipt.json --for sie --sie-version 0.3.4 --endpoint https://minio.zone',
      'sie-mirror values site-a.receipt.json --for containerd,kserve --credentials irsa --identity arn:aws:iam::123456789012:role/models --out deploy',
    ],
    run: async ([receipt = ''], flags, context) => {
      const { values } = await import('../commands/values.ts');
      return values(
        {
          receipt,
          out: text(flags['out']),
          consumers: list(flags['for']).flatMap((each) => each.split(',')),
          sieVersion: text(flags['sieVersion']),
          credentials: flags['credentials'] as CredentialKind | undefined,
          identity: text(flags['identity']),
          endpoint: text(flags['endpoint']),
          region: text(flags['region']),
          pullSecret: String(flags['pullSecret']),
          force: flags['force'] === true,
        },
        context,
      );
    },
  },
  {
    usage: 'smoke <url>',
    text: 'encode a text on the deployed SIE cluster and check that a GPU answered with a real vector',
    flags: smokeFlags,
    subject: smokeSubject,
    examples: [
      'sie-mirror smoke http://sie-gateway.sie:8080 --model BAAI/bge-m3 --gpu l4 --dim 1024 --worker listed',
      'SIE_AUTH_TOKEN=... sie-mirror smoke https://sie.zone --all site.receipt.json --gpu l4,cpu --junit smoke.xml',
      'sie-mirror smoke http://sie-gateway.sie:8080 --model BAAI/bge-m3 --receipt site.receipt.json --golden golden.json',
    ],
    run: async ([url = ''], flags, context) => {
      const { smoke } = await import('../commands/smoke.ts');
      return smoke({ url, ...smokeOptions(flags) }, context);
    },
  },
  {
    usage: 'doctor',
    text: 'look at bundle, bucket, registry, cluster and gateway, and say which known fault it is, and the fix',
    flags: [
      { flags: '--bundle <dir>', text: 'a bundle: its files and their sizes' },
      { flags: '--models <url>', text: 'where the models are: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///DIR' },
      { flags: '--images <registry>', text: 'where the images are: HOST[:PORT][/PREFIX]' },
      { flags: '--receipt <file>', text: 'what was imported (default: the receipts that lie with the models)' },
      { flags: '--gateway <url>', text: 'the SIE gateway; SIE_AUTH_TOKEN is its token' },
      { flags: '--worker <url>', text: 'a worker, to be asked itself; can be given again', parse: collect },
      { flags: '--kubeconfig <file>', text: 'look at the cluster too, read-only' },
      { flags: '--context <name>', text: 'context of the kubeconfig (default: its current one)' },
      { flags: '--in-cluster', text: 'the same from inside a pod, by its account' },
      { flags: '--namespace <name>', text: 'namespace of SIE (default: that of the context)' },
      { flags: '--bundle-report <file>', text: 'write what was found for support, without secrets: a tar, or .json' },
      junitFlag,
    ],
    examples: [
      'sie-mirror doctor --models s3://models/sie/models --receipt site-a.receipt.json --ca zone-ca.pem',
      'sie-mirror doctor --kubeconfig ~/.kube/config --namespace sie --gateway http://sie-gateway.sie:8080',
      'sie-mirror doctor --bundle /media/usb/site-a --images registry.zone:5000/sie --bundle-report support.tar',
    ],
    run: async (_, flags, context) => {
      const { doctor } = await import('../commands/doctor.ts');
      const given = (name: string): string | undefined => text(flags[name]);
      return doctor(
        {
          bundle: given('bundle'),
          models: given('models'),
          images: given('images'),
          receipt: given('receipt'),
          gateway: given('gateway'),
          workers: list(flags['worker']),
          kubeconfig: given('kubeconfig'),
          kubeContext: given('context'),
          inCluster: flags['inCluster'] === true,
          namespace: given('namespace'),
          hostsDir: given('hostsDir'),
          bundleReport: given('bundleReport'),
        },
        context,
      );
    },
  },
];
