import { constants, existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname } from 'node:path';

/** A file that says that others are there, and what of those a power cut could have taken away when it got its name. */
interface Claim {
  path: string;
  lost: string[];
}

/**
 * What POSIX promises of a power cut, and no more: bytes are there when their file was synced after they were written, a name
 * when its directory was synced after it was made. No file system is as bad; each is in its own way.
 */
export interface StrictMedium extends Disposable {
  /** In the order in which they got their names. */
  claims: Claim[];
  /** What stands there now and a power cut could take away. */
  lost(): string[];
}

const writing = constants.O_WRONLY | constants.O_RDWR;

function isForWriting(flags: string | number): boolean {
  return typeof flags === 'number' ? (flags & writing) !== 0 : flags !== 'r';
}

/**
 * Watches all calls that change names or bytes, until it is disposed of; other tests of this process must not run meanwhile.
 * @param needs what has to be there before a file gets this name, by a pattern; undefined for a file that claims nothing
 */
export function watchMedium(root: string, needs: (path: string) => RegExp | undefined): StrictMedium {
  const names = new Set<string>();
  const bytes = new Set<string>();
  const claims: Claim[] = [];
  const original = { ...fs };
  const isInside = (path: unknown): path is string => typeof path === 'string' && path.startsWith(root);
  const shown = (path: string): string => path.slice(root.length + 1);
  const lost = (): string[] => {
    const isLeft = (path: string): boolean => existsSync(dirname(path)) && !/\.(?:partial|lock)(?:\/|$)/.test(path);
    return [
      ...[...names].filter(isLeft).map((path) => `name of ${shown(path)}`),
      ...[...bytes].filter(isLeft).map((path) => `bytes of ${shown(path)}`),
    ].sort();
  };
  const synced = (path: string): void => {
    bytes.delete(path);
    for (const name of names) if (dirname(name) === path) names.delete(name);
  };
  const made = (path: unknown, isWritten: boolean): void => {
    if (!isInside(path)) return;
    names.add(path);
    if (isWritten) bytes.add(path);
  };
  const gone = (path: unknown): void => {
    if (!isInside(path)) return;
    for (const set of [names, bytes])
      for (const name of set) if (name === path || name.startsWith(`${path}/`)) set.delete(name);
  };

  Object.assign(fs, {
    open: async (...args: Parameters<typeof fs.open>) => {
      const [path, flags = 'r'] = args;
      const isNew = isInside(path) && !existsSync(path);
      const handle = await original.open(...args);
      if (!isInside(path)) return handle;
      if (isNew) made(path, true);
      else if (isForWriting(flags)) bytes.add(path);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        await sync();
        synced(path);
      };
      return handle;
    },
    writeFile: async (...args: Parameters<typeof fs.writeFile>) => {
      await original.writeFile(...args);
      made(args[0], true);
    },
    mkdir: async (...args: Parameters<typeof fs.mkdir>) => {
      const missing: string[] = [];
      for (let at = String(args[0]); !existsSync(at); at = dirname(at)) missing.push(at);
      const answer = await original.mkdir(...args);
      for (const path of missing) made(path, false);
      return answer;
    },
    symlink: async (...args: Parameters<typeof fs.symlink>) => {
      await original.symlink(...args);
      made(args[1], false);
    },
    link: async (...args: Parameters<typeof fs.link>) => {
      await original.link(...args);
      made(args[1], true);
    },
    copyFile: async (...args: Parameters<typeof fs.copyFile>) => {
      await original.copyFile(...args);
      made(args[1], true);
    },
    rename: async (...args: Parameters<typeof fs.rename>) => {
      const [from, to] = args.map(String) as [string, string];
      const isSynced = !bytes.has(from);
      gone(from);
      const need = isInside(to) ? needs(shown(to)) : undefined;
      if (need) {
        const before = lost().filter((each) => need.test(each.replace(/^\w+ of /, '')));
        claims.push({ path: shown(to), lost: isSynced ? before : [...before, `bytes of ${shown(to)}`] });
      }
      await original.rename(...args);
      gone(to);
      made(to, !isSynced);
    },
    rm: async (...args: Parameters<typeof fs.rm>) => {
      await original.rm(...args);
      gone(args[0]);
    },
    rmdir: async (...args: Parameters<typeof fs.rmdir>) => {
      await original.rmdir(...args);
      gone(args[0]);
    },
  });
  syncBuiltinESMExports();
  return {
    claims,
    lost,
    [Symbol.dispose]: () => {
      Object.assign(fs, original);
      syncBuiltinESMExports();
    },
  };
}
