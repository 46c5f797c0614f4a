import type { Content } from '../../core/ports.ts';

/** A whole file that goes into a bundle beside its volumes, onto each medium. */
export interface CarriedFile {
  name: string;
  content: Content;
  /** Of the content, in hex, as SHA256SUMS has it. */
  sha256: string;
}

/** A Node.js that a bundle brings along, as Node.js names platforms: `linux-x64`. */
export interface CarriedNode {
  platform: string;
  /** In the bundle. */
  name: string;
}

/** What a Node.js of a platform, and its licence, are called in a bundle. */
export function nodeFiles(platform: string): { program: string; licence: string } {
  const program = `node-${platform}${platform.startsWith('win-') ? '.exe' : ''}`;
  return { program, licence: `node-${platform}.LICENSE.txt` };
}

/** Whether a file of a bundle has a name that only a Node.js in it has. */
export function isNodeFile(name: string): boolean {
  return /^node-[a-z]+-[a-z0-9]+(?:\.exe|\.LICENSE\.txt)?$/.test(name);
}
