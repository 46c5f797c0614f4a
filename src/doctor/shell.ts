// What `printable` writes otherwise: a name from outside must not begin a line of its own.
// eslint-disable-next-line no-control-regex
const controls = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A word as a shell takes it, whatever is in it: always on one line. */
export function quoted(word: string): string {
  // https://www.gnu.org/software/bash/manual/bash.html#ANSI_002dC-Quoting
  if (word.search(controls) >= 0)
    return `$'${word
      .replaceAll(/[\\']/g, '\\$&')
      .replaceAll(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)}'`;
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The commands that mend single objects in a store, by how it is named: `s3://BUCKET/PREFIX` or `file:///DIR`. */
export function storeCommands(store: string): StoreCommands {
  const directory = /^file:\/\/(.*)$/.exec(store)?.[1];
  const place = (key: string): string => quoted(`${directory ?? store}/${key}`);
  if (directory !== undefined)
    return {
      write: (key, text) => `printf %s ${quoted(text)} > ${place(key)}`,
      remove: (key) => `rm ${place(key)}`,
      removeBelow: (folder) => `rm -r ${place(folder)}`,
    };
  return {
    write: (key, text) => `printf %s ${quoted(text)} | aws s3 cp - ${place(key)}`,
    remove: (key) => `aws s3 rm ${place(key)}`,
    removeBelow: (folder) => `aws s3 rm --recursive ${place(folder)}`,
  };
}

export interface StoreCommands {
  write(key: string, text: string): string;
  remove(key: string): string;
  removeBelow(folder: string): string;
}
