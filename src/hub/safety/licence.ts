import * as z from '../../core/zod.ts';

export const licenceSchema = z.strictObject({
  /** `declared`: the repo's card names one. `file`: only a file of the repo tells. `none`: nobody says what is allowed. */
  state: z.enum(['declared', 'file', 'none']),
  /** As the hub names it: `apache-2.0`, `other`. */
  id: z.string().optional(),
  files: z.array(z.strictObject({ path: z.string(), sha256: z.string() })),
});

export type LicenceState = z.infer<typeof licenceSchema>['state'];

/** Whether a file holds a licence, a notice, or terms of use. */
export function isLicenceFile(path: string): boolean {
  return /(?:^|\/)(?:licen[cs]es?|copying|notices?|use_policy|usage_policy)(?:[._-][^/]*)?$/i.test(path);
}

/** What a repo's card and its list of files say of its licence. */
export function licenceState(id: string | undefined, paths: readonly string[]): LicenceState {
  if (id !== undefined && id !== '' && id !== 'unknown') return 'declared';
  return paths.some((path) => isLicenceFile(path) && !/(?:^|\/)notices?[^/]*$/i.test(path)) ? 'file' : 'none';
}
