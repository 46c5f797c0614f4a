import { readFile, writeFile } from 'node:fs/promises';

const preamble = `# Benchmarks

Each section says how it was made. Ours and the peer run in turns (A B A B ...) after one run of each that does not count,
each time on a fresh target; \`again\` is ours against itself, the noise of the machine. A time is the median, with least and
most in brackets; \`ours / peer\` is the ratio of the medians, \`pairwise\` the least and most ratio of neighbouring runs.
Processor time (user + system) and peak memory are those of the whole client process, children included, ours first.

`;

/** Puts the sections of the cases that ran in place of their older ones; the others stay. */
export async function writeResults(path: string, sections: ReadonlyMap<string, string>): Promise<void> {
  let text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return preamble;
    throw error;
  });
  for (const [name, section] of sections) text = withSection(text, name, section);
  await writeFile(path, text);
}

function withSection(text: string, name: string, section: string): string {
  const [begin, end] = [`<!-- begin ${name} -->\n`, `<!-- end ${name} -->\n`];
  const whole = `${begin}${section.trimEnd()}\n${end}`;
  const start = text.indexOf(begin);
  const stop = text.indexOf(end);
  if (start < 0 || stop < start) return `${text.trimEnd()}\n\n${whole}`;
  return text.slice(0, start) + whole + text.slice(stop + end.length);
}
