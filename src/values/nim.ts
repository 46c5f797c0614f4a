import { type AccessSettings, bucketEnv, type EnvVar, regionOf } from './bucket-access.ts';
import { exampleFile, kubernetesName, readerName, server, serviceAccount } from './example.ts';
import { type GeneratedFile, placeholder } from './generated-file.ts';
import { formatYaml } from './yaml.ts';
import { prefixOf, repositoryOf, sourceName, targetName, type Zone, type ZoneImage } from './zone.ts';

const profiles = `s3://${placeholder}-bucket-of-the-profiles/`;

export function isNim(image: ZoneImage): boolean {
  return sourceName(image).startsWith('nvcr.io/nim/');
}

/**
 * NVIDIA NIM that asks nothing of NGC. Before 2.0 it takes profiles out of a bucket of their own:
 * https://docs.nvidia.com/nim/large-language-models/latest/nim-repository-override.html.
 * Later a NIM without a model of its own takes the files of one:
 * https://docs.nvidia.com/nim/large-language-models/latest/deployment/model-free-nim.html
 */
export function nim(zone: Zone, settings: AccessSettings): GeneratedFile | undefined {
  const images = zone.images.filter(isNim);
  if (images.length === 0) return undefined;
  // NIM reads S3 only, whatever the models of others lie on.
  const access: AccessSettings =
    settings.credentials === 'workload-identity' ? { ...settings, credentials: 'secret' } : settings;
  const documents = images.map((image) =>
    server(kubernetesName(image.source.repository.replace(/^nim\//, '')), {
      name: 'nim',
      image: targetName(image),
      env: [...weights(image, zone), ...bucketEnv('s3://', access, 'AWS_ENDPOINT_URL')],
    }),
  );
  return exampleFile(
    'nim',
    [serviceAccount(readerName, access), ...documents],
    [
      'No NGC_API_KEY: nothing is asked of NGC. NIM before 2.0: the bucket is addressed as BUCKET.HOST, and holds profiles under their encoded names.',
      'NIM from 2.0 on: NIM_MODEL_PATH is for images without a model of their own; one with a model wants its prepared cache on a volume, as NIM_CACHE_PATH.',
    ],
  );
}

function weights(image: ZoneImage, zone: Zone): EnvVar[] {
  if (Number(/^v?(\d+)\./.exec(image.target.tag ?? '')?.[1] ?? 1) >= 2)
    return [{ name: 'NIM_MODEL_PATH', value: modelPath(zone) }];
  return [
    { name: 'NIM_REPOSITORY_OVERRIDE', value: profiles },
    { name: 'NIM_MODEL_PROFILE', value: `${placeholder}-profile-id` },
  ];
}

/** The only model that lies there as plain files, else what the user has to say. */
function modelPath({ models, modelList }: Zone): string {
  const plain = modelList.filter(({ repo, folder }) => folder === repo);
  const [only, ...more] = plain;
  return only && more.length === 0 && models?.startsWith('s3:') === true
    ? `${models}/${only.folder}`
    : `s3://${placeholder}-bucket/ORG/NAME`;
}

/**
 * Settings of DataRobot's chart for NIM without internet.
 * https://docs.datarobot.com/en/docs/install/install-config/advanced-configuration/nvidia-nim/nim-airgap.html
 */
export function datarobot({ images }: Zone, settings: AccessSettings): GeneratedFile | undefined {
  const nims = images.filter(isNim);
  if (nims.length === 0) return undefined;
  const registries = new Set(nims.flatMap((image) => registryOf(image) ?? []));
  const [registry = `${placeholder}-registry-with-nim-below-it`, ...others] = registries;
  const body = formatYaml(
    {
      [`${placeholder}-section-of-the-chart`]: {
        SERVE_NIM_MODEL_FROM_LOCAL_ASSETS: true,
        custom_model_nim_image_registry: registry,
        custom_model_nim_image_url_allowlist: nims.map(({ target }) => repositoryOf(target)),
        custom_model_nim_repository_override: profiles,
        ...(settings.endpoint === undefined ? {} : { custom_model_nim_aws_endpoint_url: settings.endpoint }),
        custom_model_nim_aws_region: regionOf(settings),
      },
    },
    Object.fromEntries(
      others.length > 0 ? [[registryPath, `The receipt has images of NIM in ${others.join(', ')} as well.`]] : [],
    ),
  );
  return { path: 'datarobot/values.yaml', consumer: 'datarobot', body: [...datarobotNotes, body].join('\n') };
}

const registryPath = `${placeholder}-section-of-the-chart.custom_model_nim_image_registry`;

const datarobotNotes = [
  "# Values for DataRobot's chart, to be put where the chart of your release has its settings of NIM. The registry stands for nvcr.io.",
  '# The bucket holds nothing else, profiles at its root under their encoded names, and is addressed as BUCKET.HOST by HTTPS.',
  "# Its keys belong into DataRobot itself, as a Secure Configuration of the type AWS Credentials; they must not expire, so a role won't do.",
];

/** What stands for `nvcr.io` in front of `nim/ORG/NAME`; undefined where the image has another name. */
function registryOf(image: ZoneImage): string | undefined {
  const prefix = prefixOf(image);
  return prefix === undefined ? undefined : `${image.target.registry}${prefix}`;
}
