import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes the licence texts of everything that a build of esbuild has put into one file, ours first:
 * `licences.ts METAFILE OUT`. A package whose text cannot be found stops the build.
 */

interface Package {
  name: string;
  version: string;
  licence: string;
  /** Of its own LICENSE and NOTICE files; empty when it carries none. */
  texts: string[];
}

const [metafile = '', out = ''] = process.argv.slice(2);
const inputs = Object.keys((JSON.parse(readFileSync(metafile, 'utf8')) as { inputs: object }).inputs);
const directories = [...new Set(inputs.map(packageDirectory))].filter((each) => each !== undefined).sort();
const packages = directories.map(readPackage);
const sections = [
  'sie-mirror.mjs is one file that holds sie-mirror and the packages below, each under its own licence.',
  section(readPackage('.')),
  ...packages.map(section),
];
writeFileSync(out, sections.join(`\n${'='.repeat(80)}\n\n`));

/** `node_modules/a/node_modules/@b/c` of a file below it; undefined for our own. */
function packageDirectory(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
}

function readPackage(directory: string): Package {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
  };
  const files = readdirSync(directory).filter((file) => /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$/i.test(file));
  const texts = files.sort().map((file) => readFileSync(join(directory, file), 'utf8').trim());
  return { name, version, licence: license ?? 'no licence declared', texts };
}

function section({ name, version, licence, texts }: Package): string {
  const text = texts.length > 0 ? texts.join('\n\n') : declared(name, licence);
  return `${name} ${version} (${licence})\n\n${text}\n`;
}

/** For a package that declares a licence and carries no text: the terms as another package of the same licence has them. */
function declared(name: string, licence: string): string {
  const [text] = packages.filter((each) => each.licence === licence).flatMap(({ texts }) => texts);
  if (text === undefined) throw new Error(`${name}: no text of its licence (${licence}) is to be found`);
  // The copyright lines above the terms are the other package's.
  const terms = licence === 'MIT' ? text.slice(Math.max(text.search(/^Permission is hereby granted/m), 0)) : text;
  return `The package declares this licence and carries no text of it. The terms are:\n\n${terms}`;
}
