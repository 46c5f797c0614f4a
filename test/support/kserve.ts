import { z } from 'zod';

/** Annotations from which KServe reads where a store is, on a Secret or a service account. */
const annotations = z.strictObject({
  'serving.kserve.io/s3-endpoint': z
    .string()
    .regex(/^[a-z0-9.-]+(?::\d+)?(?:\/\S*)?$/)
    .optional(),
  'serving.kserve.io/s3-usehttps': z.enum(['0', '1']).optional(),
  'serving.kserve.io/s3-usevirtualbucket': z.enum(['0', '1']).optional(),
  'serving.kserve.io/s3-region': z.string().optional(),
  'eks.amazonaws.com/role-arn': z.string().optional(),
  'iam.gke.io/gcp-service-account': z.string().optional(),
});

const named = z.strictObject({ name: z.string() });

const secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: z.strictObject({ name: z.string(), annotations: annotations.optional() }),
  type: z.literal('Opaque'),
  data: z.strictObject({ AWS_ACCESS_KEY_ID: z.string(), AWS_SECRET_ACCESS_KEY: z.string() }),
});

const account = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ServiceAccount'),
  metadata: z.strictObject({ name: z.string(), annotations: annotations.optional() }),
  secrets: z.array(named).optional(),
  imagePullSecrets: z.array(named),
});

/** What the CustomResourceDefinition of KServe 0.16 takes for an InferenceService, as far as we write one. */
const service = z.strictObject({
  apiVersion: z.literal('serving.kserve.io/v1beta1'),
  kind: z.literal('InferenceService'),
  metadata: z.strictObject({ name: z.string().regex(/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/) }),
  spec: z.strictObject({
    predictor: z.strictObject({
      serviceAccountName: z.string(),
      model: z.strictObject({
        modelFormat: named,
        args: z.array(z.string()),
        storageUri: z.string().regex(/^(?:s3|gs|pvc):\/\/\S+$/),
      }),
    }),
  }),
});

/** Everything that a file for KServe is made of. */
export const kserveDocument = z.discriminatedUnion('kind', [secret, account, service]);
