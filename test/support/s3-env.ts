/** Who may do everything in a test store. */
export const testKeys = { accessKeyId: 'TESTACCESSKEY', secretAccessKey: 'test-secret' };

/** What a client has in its environment that is to reach a store. */
export function s3Env(url: string, { accessKeyId, secretAccessKey } = testKeys): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: url,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  };
}
