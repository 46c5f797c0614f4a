import type { ServerResponse } from 'node:http';
import type { Fault } from './server.ts';
import { element, xmlDocument } from './s3-xml.ts';

/** HTTP status of the errors that the test store gives, and what it says with them. */
const ERRORS = {
  AccessDenied: [403, 'Access Denied'],
  AuthorizationHeaderMalformed: [400, 'The authorization header is malformed'],
  BadDigest: [400, 'The Content-MD5 you specified did not match what we received.'],
  EntityTooSmall: [400, 'Your proposed upload is smaller than the minimum allowed size'],
  InvalidAccessKeyId: [403, 'The AWS Access Key Id you provided does not exist in our records.'],
  InvalidArgument: [400, 'Invalid Argument'],
  InvalidPart: [400, 'One or more of the specified parts could not be found or had another entity tag.'],
  InvalidPartOrder: [400, 'The list of parts was not in ascending order.'],
  InvalidRange: [416, 'The requested range is not satisfiable'],
  InvalidRequest: [400, 'Invalid Request'],
  InvalidToken: [400, 'The provided token is malformed or otherwise invalid.'],
  KeyTooLongError: [400, 'Your key is too long'],
  MalformedXML: [400, 'The XML you provided was not well-formed'],
  MetadataTooLarge: [400, 'Your metadata headers exceed the maximum allowed metadata size'],
  MissingContentLength: [411, 'You must provide the Content-Length HTTP header.'],
  NoSuchBucket: [404, 'The specified bucket does not exist'],
  NoSuchKey: [404, 'The specified key does not exist.'],
  NoSuchUpload: [404, 'The specified upload does not exist.'],
  NotImplemented: [501, 'A header you provided implies functionality that is not implemented'],
  PreconditionFailed: [412, 'At least one of the pre-conditions you specified did not hold'],
  RequestTimeTooSkewed: [403, 'The difference between the request time and the current time is too large.'],
  SignatureDoesNotMatch: [403, 'The request signature we calculated does not match the signature you provided.'],
  SlowDown: [503, 'Please reduce your request rate.'],
  XAmzContentSHA256Mismatch: [400, "The provided 'x-amz-content-sha256' header does not match what was computed."],
} as const satisfies Record<string, readonly [number, string]>;

/** Codes of the errors that the test store gives. */
export type S3ErrorCode = keyof typeof ERRORS;

/** An error that goes back to the client as XML. */
export class S3Error extends Error {
  readonly code: S3ErrorCode;

  constructor(code: S3ErrorCode, detail = '') {
    super(ERRORS[code][1] + detail);
    this.code = code;
  }
}

/** Answers with an error; an answer to HEAD has no body. */
export function sendS3Error(response: ServerResponse, error: S3Error, resource: string): true {
  const body = errorXml(error, resource);
  const headers = { 'content-type': 'application/xml', 'content-length': String(Buffer.byteLength(body)) };
  const isHead = response.req.method === 'HEAD';
  response.writeHead(ERRORS[error.code][0], isHead ? {} : headers).end(isHead ? undefined : body);
  return true;
}

/** What a fault plan returns to have one request throttled. */
export function slowDown(): Fault {
  const headers = { 'content-type': 'application/xml' };
  return { kind: 'status', status: ERRORS.SlowDown[0], headers, body: errorXml(new S3Error('SlowDown'), '/') };
}

function errorXml(error: S3Error, resource: string): string {
  const fields = { Code: error.code, Message: error.message, Resource: resource, RequestId: 'TESTREQUEST' };
  const inner = Object.entries(fields).map(([name, value]) => element(name, value));
  return xmlDocument(`<Error>${inner.join('')}</Error>`);
}
