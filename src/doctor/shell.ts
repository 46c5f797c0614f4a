/** A word as a shell takes it, whatever is in it. */
export function quoted(word: string): string {
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
