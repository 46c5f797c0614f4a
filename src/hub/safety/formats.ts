import { isUtf8 } from 'node:buffer';
import { numpyMagic } from './numpy-array.ts';
import { isLegacyTorch } from './pickle-file.ts';
import { safetensorsHeaderBytes } from './safetensors.ts';

/** What the bytes of a file are, whatever its name says. */
export type FileFormat =
  | 'empty'
  | 'safetensors'
  | 'gguf'
  | 'ggml'
  | 'zip'
  | 'torch-zip'
  | 'npz'
  | 'keras-zip'
  | 'torch-legacy'
  | 'pickle'
  | 'npy'
  | 'hdf5'
  | 'onnx'
  | 'tflite'
  | 'tar'
  | 'compressed'
  | '7z'
  | 'executable'
  | 'lfs-pointer'
  | 'html'
  | 'json'
  | 'text'
  | 'media'
  | 'table'
  | 'binary';

/** As much of a file as {@link formatOf} wants to see. */
export const headBytes = 4096;

const signatures: readonly (readonly [at: number, bytes: string, format: FileFormat])[] = [
  [0, 'PK\u0003\u0004', 'zip'],
  [0, 'PK\u0005\u0006', 'zip'],
  [0, 'GGUF', 'gguf'],
  [0, 'FUGG', 'gguf'],
  [0, 'lmgg', 'ggml'],
  [0, 'fmgg', 'ggml'],
  [0, 'tjgg', 'ggml'],
  [0, 'algg', 'ggml'],
  [0, numpyMagic.toString('latin1'), 'npy'],
  [0, '\u0089HDF\r\n\u001a\n', 'hdf5'],
  [4, 'TFL3', 'tflite'],
  [257, 'ustar', 'tar'],
  [0, '7z\u00bc\u00af\u0027\u001c', '7z'],
  [0, '\u001f\u008b', 'compressed'],
  [0, 'BZh', 'compressed'],
  [0, '\u00fd7zXZ\u0000', 'compressed'],
  [0, '\u0028\u00b5\u002f\u00fd', 'compressed'],
  [0, '\u0004\u0022\u004d\u0018', 'compressed'],
  [0, '\u007fELF', 'executable'],
  [0, 'MZ', 'executable'],
  [0, '\u00cf\u00fa\u00ed\u00fe', 'executable'],
  [0, '\u00ca\u00fe\u00ba\u00be', 'executable'],
  [0, '\u0089PNG\r\n', 'media'],
  [0, '\u00ff\u00d8\u00ff', 'media'],
  [0, 'GIF8', 'media'],
  [0, 'RIFF', 'media'],
  [0, 'OggS', 'media'],
  [0, 'ID3', 'media'],
  [0, 'fLaC', 'media'],
  [0, '%PDF-', 'media'],
  [4, 'ftyp', 'media'],
  [0, 'PAR1', 'table'],
  [0, 'ARROW1', 'table'],
];

/**
 * The format of a file by its first bytes. `pickle` is said only of those that announce a protocol: older ones have no
 * magic, and look like text.
 * @param head the first {@link headBytes} of the file, or all of it
 */
export function formatOf(head: Buffer, size: number): FileFormat {
  if (size === 0) return 'empty';
  const start = head.toString('latin1', 0, 512);
  if (/^version https:\/\/(?:git-lfs\.github\.com|hawser\.github\.com)\/spec\//.test(start)) return 'lfs-pointer';
  const header = safetensorsHeaderBytes(head);
  if (header !== undefined && header > 0 && header <= size - 8) return 'safetensors';
  if (isLegacyTorch(head)) return 'torch-legacy';
  if (isPickleStart(head)) return 'pickle';
  const known = signatures.find(([at, bytes]) => start.startsWith(bytes, at));
  if (known && !(known[2] === 'executable' && isText(head))) return known[2];
  if (isText(head)) return formatOfText(start);
  if (isTarHead(head)) return 'tar';
  if (isBarelyCompressed(head)) return 'compressed';
  return isOnnx(head) ? 'onnx' : 'binary';
}

/**
 * Bytes compressed by zlib, by zlib behind a header of joblib, or by LZMA without a container, whose headers could be numbers as well.
 * https://www.rfc-editor.org/rfc/rfc1950
 */
function isBarelyCompressed(head: Buffer): boolean {
  // eslint-disable-next-line no-control-regex
  const zlib = /^\u0078[\u0001\u005e\u009c\u00da]/;
  const joblib = /^ZF[\sx_+\da-f]{18}/i;
  // eslint-disable-next-line no-control-regex
  const lzma = /^\u005d\u0000[^]{3}(?:\u00ff{8}|[^]{5}\u0000{3})/;
  const start = head.toString('latin1', 0, 32);
  return [zlib, joblib, lzma].some((pattern) => pattern.test(start));
}

/**
 * Whether bytes begin with the header of a tar's member, also of one from before `ustar`: readers only want its sum to be right.
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
export function isTarHead(head: Buffer): boolean {
  if (head.length < 512 || head[0] === 0) return false;
  const declared = numberOfTar(head.subarray(148, 156));
  const bytes = [...head.subarray(0, 148), ...Buffer.alloc(8, ' '), ...head.subarray(156, 512)];
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  // Tars of old summed up bytes with a sign.
  const signed = bytes.reduce((total, byte) => total + (byte < 0x80 ? byte : byte - 0x100), 0);
  return declared === sum || declared === signed;
}

/** Octal digits, or with its first bit set a number. */
function numberOfTar(field: Buffer): number {
  if (field[0] === 0x80) return field.readUIntBE(2, 6);
  const digits = /^\s*\+?(?:0o)?([0-7_]+)\s*$/i.exec(field.toString('latin1').split('\0', 1)[0] ?? '')?.[1];
  return digits === undefined ? Number.NaN : Number.parseInt(digits.replaceAll('_', ''), 8);
}

/** Whether bytes begin with the opcode that names a protocol, which all pickles since protocol 2 do. */
export function isPickleStart(head: Buffer): boolean {
  return head[0] === 0x80 && (head[1] ?? 0xff) <= 5;
}

function formatOfText(start: string): FileFormat {
  const text = start.replace(/^\u00ef\u00bb\u00bf/, '').trimStart();
  if (/^(?:<!--[^]*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b/i.test(text)) return 'html';
  return /^[[{]/.test(text) ? 'json' : 'text';
}

/** UTF-8 without control characters but those of white space; the last letter may be cut in two. */
function isText(head: Buffer): boolean {
  for (const byte of head)
    if (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d && byte !== 0x0c) return false;
  return [0, 1, 2, 3].some((cut) => isUtf8(head.subarray(0, head.length - cut)));
}

/**
 * A guess: a protobuf message whose first field is a small ir_version, followed by one of a model's other fields.
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
function isOnnx(head: Buffer): boolean {
  const [tag, version = 0, next = 0] = head;
  return tag === 0x08 && version >= 1 && version <= 32 && [0x12, 0x1a, 0x22, 0x3a, 0x42].includes(next);
}

/** Formats that a loader expects behind a name; undefined for names that may hold anything. */
const expected = new Map<string, readonly FileFormat[]>([
  ['safetensors', ['safetensors']],
  ['gguf', ['gguf']],
  ['ggml', ['ggml', 'gguf']],
  ['bin', ['torch-zip', 'torch-legacy', 'pickle', 'binary', 'ggml', 'gguf']],
  ['pt', ['torch-zip', 'torch-legacy', 'pickle']],
  ['pth', ['torch-zip', 'torch-legacy', 'pickle']],
  ['ckpt', ['torch-zip', 'torch-legacy', 'pickle', 'binary', 'safetensors']],
  ['ot', ['torch-zip', 'torch-legacy', 'pickle', 'binary']],
  ['pkl', ['pickle', 'torch-legacy', 'torch-zip']],
  ['pickle', ['pickle', 'torch-legacy', 'torch-zip']],
  ['joblib', ['pickle', 'compressed', 'zip', 'npz']],
  ['npy', ['npy']],
  ['npz', ['npz', 'zip']],
  ['h5', ['hdf5']],
  ['hdf5', ['hdf5']],
  ['keras', ['keras-zip', 'hdf5']],
  ['onnx', ['onnx', 'binary']],
  ['tflite', ['tflite']],
  ['msgpack', ['binary', 'onnx']],
]);

/** What stands behind the last dot of a path, in lower case. */
export function extensionOf(path: string): string {
  return /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
}

export function isWeightName(path: string): boolean {
  return expected.has(extensionOf(path));
}

/** Whether a file is what its name says; names that say nothing are never wrong. */
export function fitsName(path: string, format: FileFormat): boolean {
  return expected.get(extensionOf(path))?.includes(format) ?? true;
}

/** Names under which loaders unpickle what they find, also what has no magic, or is compressed or in a tar. */
export function isPickleName(path: string): boolean {
  return pickleName.test(path);
}

const pickleName =
  /\.(?:pkl|pk|p|pickle|dill|joblib|sav|npy|npz|bin|pt|pth|th|ckpt|ot|dat|data|nemo)(?:\.(?:tar|gz|bz2|xz|lzma|zst|lz4|z))*$/i;

/** Whether it holds other files, or another one, that are not looked into here. */
export function isArchive(format: FileFormat): boolean {
  return format === 'tar' || format === 'compressed' || format === '7z';
}

/** Whether loaders uncompress a file by its name. */
export function isCompressedName(path: string): boolean {
  return /\.(?:gz|bz2|xz|lzma|zst|lz4|z)$/i.test(path);
}
