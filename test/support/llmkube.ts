import { z } from 'zod';

/** What the CustomResourceDefinition of LLMKube 0.9 takes for a Model, as far as we write one. */
export const llmkubeModel = z.strictObject({
  apiVersion: z.literal('inference.llmkube.dev/v1alpha1'),
  kind: z.literal('Model'),
  metadata: z.strictObject({ name: z.string().regex(/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/) }),
  spec: z.strictObject({
    // https://huggingface.co is asked for a bare name and for hf://, which a zone does not reach; oci:// there is not.
    source: z.string().regex(/^(?:https?|pvc|s3):\/\/[^\s%]+$|^\/[^\s]+$/),
    files: z.array(z.string()).min(2).optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    format: z.literal('gguf'),
    sourceSecretRef: z.strictObject({ name: z.string() }).optional(),
  }),
});
