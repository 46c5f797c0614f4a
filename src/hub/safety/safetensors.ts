import { isUtf8 } from 'node:buffer';
import { type ByteRanges, holding } from './byte-ranges.ts';
import { JsonCursor, JsonFault } from './json-cursor.ts';

/** What was found in the header of a safetensors file. */
export interface SafetensorsHeader {
  tensors: number;
  /** What is wrong, as the end of a sentence about the file; undefined for a file that every loader takes. */
  fault: string | undefined;
}

/** No loader takes a longer header. */
const maxHeaderBytes = 100_000_000;

/** A header of the largest size has a million of them at most that are worth reading. */
const maxTensors = 1_000_000;

/** Bits of one number. */
const bitsOf = new Map<string, number>([
  ...['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map(
    (type) => [type, 8] as const,
  ),
  ...['U16', 'I16', 'F16', 'BF16'].map((type) => [type, 16] as const),
  ...['U32', 'I32', 'F32'].map((type) => [type, 32] as const),
  ...['U64', 'I64', 'F64', 'C64'].map((type) => [type, 64] as const),
  ...['F6_E2M3', 'F6_E3M2'].map((type) => [type, 6] as const),
  ['F4', 4],
]);

/** How long the header says that it is; undefined when the bytes cannot begin a safetensors file. */
export function safetensorsHeaderBytes(head: Buffer): number | undefined {
  if (head.length < 9 || head[8] !== 0x7b) return undefined;
  const length = head.readBigUInt64LE(0);
  return length <= BigInt(maxHeaderBytes) ? Number(length) : undefined;
}

/**
 * Checks the header and that tensors and bytes agree: each tensor's span is what type and shape need, the spans follow
 * each other without a gap from 0 on, and the last one ends the file. Tensor data is not read.
 * https://huggingface.co/docs/safetensors/index#format
 */
export async function checkSafetensors(ranges: ByteRanges): Promise<SafetensorsHeader> {
  const start = await ranges.read(0, 9);
  if (start.length < 9) return { tensors: 0, fault: `ends after ${start.length} bytes` };
  if (start.readBigUInt64LE(0) > BigInt(maxHeaderBytes))
    return { tensors: 0, fault: `says that its header has more than ${maxHeaderBytes} bytes` };
  const length = safetensorsHeaderBytes(start);
  if (length === undefined) return { tensors: 0, fault: 'has no header that begins with `{`' };
  if (length > ranges.size - 8)
    return { tensors: 0, fault: `has ${ranges.size} bytes, its header alone says ${length}` };
  return holding(length, async () => checkHeader(await ranges.read(8, length), ranges.size - 8 - length));
}

function checkHeader(header: Buffer, bytes: number): SafetensorsHeader {
  const spans: Span[] = [];
  try {
    if (!isUtf8(header)) throw new JsonFault('has a header that is not UTF-8');
    readHeader(header, spans);
    checkSpans(spans, bytes);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    return { tensors: spans.length, fault: error.message };
  }
  return { tensors: spans.length, fault: undefined };
}

interface Span {
  start: number;
  end: number;
}

function readHeader(header: Buffer, spans: Span[]): void {
  const json = new JsonCursor(header);
  json.object((key) => {
    if (key === '__metadata__') {
      json.object(() => void json.string());
      return;
    }
    if (spans.length >= maxTensors) throw new JsonFault(`has more than ${maxTensors} tensors`);
    spans.push(readTensor(json, key));
  });
  json.end();
}

function readTensor(json: JsonCursor, name: string): Span {
  let type: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  json.object((key) => {
    if (key === 'dtype') type = json.string();
    else if (key === 'shape') shape = naturals(json);
    else if (key === 'data_offsets') offsets = naturals(json);
    else json.skip();
  });
  const [start, end] = offsets ?? [];
  if (type === undefined || shape === undefined || start === undefined || end === undefined || offsets?.length !== 2)
    throw new JsonFault(`has the tensor \`${name}\` without \`dtype\`, \`shape\` or a pair of \`data_offsets\``);
  if (end < start) throw new JsonFault(`has the tensor \`${name}\`, which ends before it begins`);
  const bits = bitsOf.get(type);
  if (bits === undefined) throw new JsonFault(`has the tensor \`${name}\` of the unknown type \`${type}\``);
  const needed = shape.reduce((product, size) => product * BigInt(size), BigInt(bits));
  if (needed % 8n !== 0n) throw new JsonFault(`has the tensor \`${name}\`, which ends within a byte`);
  if (needed / 8n !== BigInt(end - start))
    throw new JsonFault(`has the tensor \`${name}\` with ${end - start} bytes, its type and shape need ${needed / 8n}`);
  return { start, end };
}

/** Longest shape; tensors have a handful of dimensions. */
const maxNumbers = 64;

function naturals(json: JsonCursor): number[] {
  const found: number[] = [];
  json.array(() => {
    if (found.length >= maxNumbers) throw new JsonFault(`has more than ${maxNumbers} numbers in a list`);
    found.push(json.natural());
  });
  return found;
}

function checkSpans(spans: Span[], bytes: number): void {
  let end = 0;
  for (const span of spans.sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (span.start !== end)
      throw new JsonFault(`has tensors that do not follow each other: one begins at ${span.start}, ${end} was wanted`);
    end = span.end;
  }
  if (end !== bytes) throw new JsonFault(`has ${bytes} bytes of tensors, its header says ${end}`);
}
