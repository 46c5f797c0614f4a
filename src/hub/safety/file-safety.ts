import { inspectArray } from './array-safety.ts';
import { ByteCursor, windowsOf } from './byte-cursor.ts';
import { type ByteRanges, paged } from './byte-ranges.ts';
import { inspectCompressed } from './compressed-safety.ts';
import { FileFindings, findingSchema, pickleSchema } from './findings.ts';
import {
  type FileFormat,
  fitsName,
  formatOf,
  headBytes,
  isCompressedName,
  isPickleName,
  isTarHead,
  isWeightName,
} from './formats.ts';
import { inspectKerasConfig } from './keras-config.ts';
import { looksLikePickle, walkPickles } from './pickle-file.ts';
import { checkSafetensors } from './safetensors.ts';
import * as z from '../../core/zod.ts';
import { hasZipEnd } from './zip-directory.ts';
import { type Closeness, inspectZip } from './zip-safety.ts';

export const fileSafetySchema = z.strictObject({
  path: z.string(),
  size: z.number(),
  /** What the bytes are, whatever the name says. */
  format: z.string(),
  findings: z.array(findingSchema),
  /** Of files that are pickles or hold some. */
  pickle: pickleSchema.optional(),
  /** Of safetensors files. */
  tensors: z.number().optional(),
});

/** What a file is and what was found in it. */
export interface FileSafety extends z.infer<typeof fileSafetySchema> {
  format: FileFormat;
}

/**
 * Looks at the first bytes of a file, and into what they announce: headers, directories and pickles, never the numbers
 * of tensors.
 */
export async function inspectFile(
  path: string,
  bytes: ByteRanges,
  closeness: Closeness = 'everything',
): Promise<FileSafety> {
  const ranges = paged(bytes);
  const found = new FileFindings();
  const head = await ranges.read(0, Math.min(headBytes, ranges.size));
  const inspection = new Inspection(path, ranges, found, closeness);
  const format = await inspection.run(head);
  const report: FileSafety = { path, size: ranges.size, format, findings: found.findings };
  if (found.pickle) report.pickle = found.pickle;
  if (inspection.tensors !== undefined) report.tensors = inspection.tensors;
  return report;
}

class Inspection {
  tensors: number | undefined;
  readonly #closeness: Closeness;
  readonly #path: string;
  readonly #ranges: ByteRanges;
  readonly #found: FileFindings;

  constructor(path: string, ranges: ByteRanges, found: FileFindings, closeness: Closeness) {
    this.#closeness = closeness;
    this.#path = path;
    this.#ranges = ranges;
    this.#found = found;
  }

  async run(head: Buffer): Promise<FileFormat> {
    const format = await this.#look(formatOf(head, this.#ranges.size));
    await this.#lookAsOthers(format, head);
    this.#judgeName(format);
    return format;
  }

  async #look(format: FileFormat): Promise<FileFormat> {
    switch (format) {
      case 'zip':
        return inspectZip(this.#ranges, this.#found, this.#closeness);
      case 'safetensors':
        await this.#safetensors();
        break;
      case 'pickle':
      case 'torch-legacy':
        this.#found.addPickle(await walkPickles(this.#cursor(), format === 'pickle' ? 'some' : 'torch'), '');
        break;
      case 'npy':
        await inspectArray(this.#cursor(), this.#found, '');
        break;
      case 'hdf5':
        await this.#hdf5();
        break;
      case 'executable':
        this.#found.add('danger', 'native-code', 'is a program or a library for a processor');
        break;
      case 'compressed':
        if (!(await this.#compressed())) this.#archive(format);
        break;
      case 'tar':
      case '7z':
        this.#archive(format);
        break;
      case 'binary':
      case 'text':
      case 'json':
      case 'onnx':
        return this.#withoutMagic(format);
      case 'empty':
      case 'gguf':
      case 'ggml':
      case 'torch-zip':
      case 'npz':
      case 'keras-zip':
      case 'tflite':
      case 'lfs-pointer':
      case 'html':
      case 'media':
      case 'table':
        break;
    }
    return format;
  }

  async #compressed(): Promise<boolean> {
    if (!isPickleName(this.#path)) return false;
    const head = await this.#ranges.read(0, headBytes);
    return inspectCompressed(this.#path, this.#ranges, head, this.#found, this.#closeness === 'few-ranges');
  }

  #archive(format: FileFormat): void {
    this.#found.add(
      isPickleName(this.#path) ? 'danger' : 'note',
      'archive-not-read',
      `is an archive (${format}) that is not opened here`,
    );
  }

  /** Pickles of old protocols, or without the opcode that names theirs, look like text or like anything. */
  async #withoutMagic(format: FileFormat): Promise<FileFormat> {
    if (this.#path.endsWith('.safetensors')) await this.#safetensors();
    if (format !== 'binary' && !isPickleName(this.#path)) return format;
    const cursor = this.#cursor();
    const walked = await walkPickles(cursor);
    const isData = isPickleName(this.#path) && !walked.truncated && cursor.position === this.#ranges.size;
    const isNamed = /\.(?:pkl|pickle|joblib)$/i.test(this.#path) && walked.imports.length > 0;
    const isLike = looksLikePickle(walked) && (isPickleName(this.#path) || !walked.truncated);
    const isPickle = isData || isNamed || isLike;
    if (isPickle) this.#found.addPickle(walked, '');
    else if (format === 'binary' && isPickleName(this.#path) && isCompressedName(this.#path))
      this.#found.add('danger', 'archive-not-read', 'is compressed by its name, in a way that is not known here');
    return isPickle ? 'pickle' : format;
  }

  async #safetensors(): Promise<void> {
    const { tensors, fault } = await checkSafetensors(this.#ranges);
    this.tensors = tensors;
    if (fault !== undefined) this.#found.add('broken', 'safetensors-header', fault);
  }

  /** Only what is written plainly near the beginning, where Keras keeps a model's configuration, can be seen. */
  async #hdf5(): Promise<void> {
    const start = await this.#ranges.read(0, hdf5Bytes);
    inspectKerasConfig(start.toString('latin1'), this.#found);
  }

  /** Loaders go by a name, or by what they look at first: a file may be one thing for some, and another for others. */
  async #lookAsOthers(format: FileFormat, head: Buffer): Promise<void> {
    if (zips.has(format)) return;
    const isTried = isPickleName(this.#path);
    if (isTried && format !== 'tar' && isTarHead(head))
      this.#found.add('danger', 'second-format', 'is a tar as well, which is not opened here');
    if (isTried && !isWalked(format)) await this.#secondPickle();
    if (isWalked(format) || isTried || /\.(?:keras|npz|zip)$/i.test(this.#path)) await this.#secondZip();
  }

  /** Whoever unpickles a file begins with its first byte, and the magic of other formats may do no harm there. */
  async #secondPickle(): Promise<void> {
    const walked = await walkPickles(this.#cursor());
    if (!looksLikePickle(walked)) return;
    this.#found.add('danger', 'second-format', 'is a pickle as well, for those who unpickle it');
    this.#found.addPickle(walked, '');
  }

  /** A zip may stand at the end of anything, and some readers look there first. */
  async #secondZip(): Promise<void> {
    if (!(await hasZipEnd(this.#ranges))) return;
    this.#found.add('danger', 'second-format', 'is a zip as well, for those who begin at its end');
    await inspectZip(this.#ranges, this.#found, this.#closeness);
  }

  #judgeName(format: FileFormat): void {
    const isProse = /\.(?:md|txt|rst)$/i.test(this.#path);
    if (format === 'lfs-pointer' && !isProse)
      this.#found.add('broken', 'lfs-pointer', 'is a Git LFS pointer: the file itself was never put there');
    else if (format === 'html' && (isWeightName(this.#path) || this.#path.endsWith('.json')))
      this.#found.add('broken', 'html-page', 'is an HTML page');
    else if (!fitsName(this.#path, format))
      this.#found.add('warning', 'not-what-its-name-says', `is ${nameOf(format)}, which its name does not say`);
    else if (format === 'binary' && this.#path.endsWith('.bin'))
      this.#found.add('note', 'not-what-its-name-says', 'is of no format that is known here');
  }

  #cursor(): ByteCursor {
    return new ByteCursor(windowsOf(this.#ranges));
  }
}

const zips = new Set<FileFormat>(['zip', 'torch-zip', 'npz', 'keras-zip']);

/** Formats whose pickles have been looked for. */
function isWalked(format: FileFormat): boolean {
  return walkedFormats.has(format);
}

const walkedFormats = new Set<FileFormat>(['pickle', 'torch-legacy', 'npy', 'binary', 'text', 'json', 'onnx']);

const hdf5Bytes = 1024 * 1024;

function nameOf(format: FileFormat): string {
  return format === 'binary' ? 'of no format that is known here' : `\`${format}\``;
}
