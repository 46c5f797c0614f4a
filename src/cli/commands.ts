import type { CommandRow } from './command-row.ts';
import { checkingCommands } from './commands-checking.ts';
import { onlineCommands } from './commands-online.ts';
import { zoneCommands } from './commands-zone.ts';

/** The table of commands, by the side of the gap on which they are typed; `--help` lists them in this order. */
export const commandGroups: readonly { title: string; rows: readonly CommandRow[] }[] = [
  { title: 'Online:', rows: onlineCommands },
  { title: 'On either side, offline:', rows: checkingCommands },
  { title: 'In the secure zone:', rows: zoneCommands },
];
