import type { S3Address } from './s3-bucket.ts';
import type { LoadedSdk } from './s3-sdk.ts';

/** The most that one request copies: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
const singleCopyLimit = 5 * 1024 ** 3;
const partBytes = 1024 ** 3;

/** Copies inside one store; metadata go along. */
export async function copyObject(
  from: S3Address,
  to: S3Address,
  size: number,
  { sdk, client }: LoadedSdk,
  abort: { abortSignal?: AbortSignal },
): Promise<void> {
  const CopySource = `${from.Bucket}/${from.Key.split('/').map(encodeURIComponent).join('/')}`;
  if (size <= singleCopyLimit) {
    await client.send(new sdk.CopyObjectCommand({ ...to, CopySource }), abort);
    return;
  }
  const { Metadata } = await client.send(new sdk.HeadObjectCommand(from), abort);
  const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand({ ...to, Metadata }), abort);
  const upload = { ...to, UploadId };
  try {
    const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
    for (let start = 0; start < size; start += partBytes) {
      const PartNumber = Parts.length + 1;
      const CopySourceRange = `bytes=${start}-${Math.min(start + partBytes, size) - 1}`;
      const part = new sdk.UploadPartCopyCommand({ ...upload, PartNumber, CopySource, CopySourceRange });
      Parts.push({ PartNumber, ETag: (await client.send(part, abort)).CopyPartResult?.ETag });
    }
    await client.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }), abort);
  } catch (error) {
    await client.send(new sdk.AbortMultipartUploadCommand(upload)).catch(() => {});
    throw error;
  }
}
