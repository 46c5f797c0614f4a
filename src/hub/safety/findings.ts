import { printable } from '../../core/text.ts';
import * as z from '../../core/zod.ts';
import type { JudgedImport, PickleFindings } from './pickle-file.ts';

/**
 * How bad a finding is. `broken`: the file cannot be what its name says. `danger`: it can run code when it is loaded, or
 * hides whether it can. `warning`: somebody should look at it. `note`: worth knowing.
 */
export const severitySchema = z.enum(['broken', 'danger', 'warning', 'note']);

export const findingSchema = z.strictObject({
  code: z.enum([
    'lfs-pointer',
    'html-page',
    'not-what-its-name-says',
    'safetensors-header',
    'import',
    'pickle-not-read',
    'object-array',
    'zip-structure',
    'member-not-read',
    'archive-not-read',
    'second-format',
    'native-code',
    'lambda-layer',
    'torchscript',
    'missing-shard',
  ]),
  severity: severitySchema,
  message: z.string(),
});

export type Finding = z.infer<typeof findingSchema>;

export const pickleSchema = z.strictObject({
  /** How many were read to their end, in the file or in the members of a zip. */
  pickles: z.number(),
  protocol: z.number(),
  imports: z.array(
    z.strictObject({
      /** Null where it cannot be told without executing it. */
      module: z.string().nullable(),
      name: z.string().nullable(),
      verdict: z.enum(['allowed', 'suspicious', 'dangerous']),
    }),
  ),
  truncated: z.boolean(),
});

export type PickleSummary = z.infer<typeof pickleSchema>;

/** What was found in one file. */
export class FileFindings {
  readonly findings: Finding[] = [];
  pickle: PickleSummary | undefined;

  add(severity: Finding['severity'], code: Finding['code'], message: string): void {
    this.findings.push({ severity, code, message: printable(message) });
  }

  /** @param where empty for the file itself, or the beginning of a sentence about a part of it, with a space at its end */
  addPickle(found: PickleFindings, where: string): void {
    const before = this.pickle ?? { pickles: 0, protocol: 0, imports: [], truncated: false };
    const known = new Set(before.imports.map(nameOfImport));
    const fresh = found.imports.filter((item) => !known.has(nameOfImport(item)));
    this.pickle = {
      pickles: before.pickles + found.pickles,
      protocol: Math.max(before.protocol, found.protocol),
      imports: [...before.imports, ...fresh],
      truncated: before.truncated || found.truncated,
    };
    for (const item of fresh.filter(({ verdict }) => verdict !== 'allowed').slice(0, maxNamed))
      this.add(
        item.verdict === 'dangerous' ? 'danger' : 'warning',
        'import',
        `${where}${found.isHiding && nameOfImport(item) === '?.?' ? hidingText : `imports \`${nameOfImport(item)}\``}`,
      );
    if (found.reason !== undefined) this.add('danger', 'pickle-not-read', `${where}${found.reason}`);
    else if (found.isBroken) this.add('warning', 'pickle-not-read', `${where}is a pickle that no reader would finish`);
  }
}

const hidingText =
  'may import what cannot be seen here: a frame ends where none does, or an array of joblib where that cannot be told, as one of objects';

/** Findings name so many imports of a file; its list of imports has all. */
const maxNamed = 50;

function nameOfImport({ module, name }: Pick<JudgedImport, 'module' | 'name'>): string {
  return `${module ?? '?'}.${name ?? '?'}`;
}
