import { isWrongBytes } from './errors.ts';
import type { Reporter } from './events.ts';

/**
 * Wrong bytes are fetched once more from the start; if they are wrong again, that is the source's last word.
 * @throws what `again` throws, and what `first` throws but for E_DIGEST_MISMATCH and E_SIZE_MISMATCH
 */
export async function onceMore<T>(report: Reporter, first: () => Promise<T>, again: () => Promise<T>): Promise<T> {
  try {
    return await first();
  } catch (error) {
    if (!isWrongBytes(error)) throw error;
    report({ type: 'note', text: `${error.message}; fetching it once more` });
    return again();
  }
}
