const minute = 60_000;
const longest = 15 * minute;

/**
 * For how many milliseconds a registry may be silent once it has a whole blob: some move it to their store before they
 * answer. An answer that was lost is not waited for longer than that takes.
 */
export function blobAnswerMs(size: number): number {
  const bytesPerMs = 10_000;
  return Math.min(longest, 2 * minute + Math.ceil(size / bytesPerMs));
}

/** The same of a manifest: every child that it names may be looked at. */
export function manifestAnswerMs(size: number): number {
  const [bytesPerChild, msPerChild] = [200, 100];
  return Math.min(longest, 2 * minute + Math.ceil(size / bytesPerChild) * msPerChild);
}
