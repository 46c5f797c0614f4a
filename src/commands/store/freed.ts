import { formatBytes, plural } from '../../core/text.ts';
import type { Freed } from '../../fs/freed.ts';
import type { Context } from '../context.ts';

/** Says what was taken away of what killed runs had left, when it was something. */
export function reportFreed({ files, bytes }: Freed, { report }: Context): void {
  if (files === 0) return;
  const text = `${plural(files, 'file')} that a broken run had left and nobody wants any more ${files === 1 ? 'is' : 'are'} gone: ${formatBytes(bytes)} freed`;
  report({ type: 'note', text });
}
