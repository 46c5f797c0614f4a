import { parseDocument } from 'yaml';
import { MirrorError } from '../core/errors.ts';
import { printable } from '../core/text.ts';

/** What a document of YAML says, as plain data; of a file called `name` in messages. @throws E_MANIFEST */
export function readYaml(text: string, name: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true });
  try {
    const [error] = document.errors;
    if (error) throw error;
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // An alias to nothing, or to too much, is told only when it is followed.
    const [reason = ''] = error instanceof Error ? error.message.split('\n') : [];
    throw new MirrorError('E_MANIFEST', `\`${name}\` is not valid YAML: ${printable(reason.replace(/:$/, ''))}`, {
      cause: error,
    });
  }
}
