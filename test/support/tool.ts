import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What stands for the one-file tool and its licences where only their place in a bundle matters. @returns its path */
export async function placeTool(directory: string): Promise<string> {
  const tool = join(directory, 'tool.mjs');
  await writeFile(tool, '// placeholder\n');
  await writeFile(join(directory, 'LICENSES.txt'), 'licences\n');
  return tool;
}
