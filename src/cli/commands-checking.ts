import type { CommandRow } from './command-row.ts';
import { fromFlag, junitFlag, keyFlags, list, passphraseFlag, text, trust } from './flags.ts';

/** What is asked of a bundle on either side of the gap; nothing of it needs a network. */
export const checkingCommands: readonly CommandRow[] = [
  {
    usage: 'verify <bundle>',
    text: 'check a bundle: signature, exact set of files, every byte; offline, read-only',
    flags: [
      ...keyFlags,
      fromFlag,
      { flags: '--partial', text: 'check the volumes that are here; the others are no fault' },
      junitFlag,
      { flags: '--html <file>', text: 'write the verdict as one page of evidence, for people and paper' },
    ],
    examples: [
      'sie-mirror verify /media/usb/site-a --key sie-mirror.pub.pem',
      'sie-mirror verify /media/usb/site-a --require 2 --key maker.pem --key officer.pem --html evidence.html',
      'node /media/usb/site-a/sie-mirror.mjs verify /media/usb/site-a --key sie-mirror.pub.pem --json',
    ],
    run: async ([bundle = ''], flags, context) =>
      (await import('../commands/verify.ts')).verify(
        { bundle, partial: flags['partial'] === true, from: list(flags['from']), ...trust(flags) },
        context,
      ),
  },
  {
    usage: 'approve <bundle>',
    text: 'add the signature of a second person to a bundle that its maker has signed',
    flags: [
      { flags: '--key <key>', text: 'private key of who approves', required: true },
      passphraseFlag,
      { flags: '--maker <pub.pem>', text: "the maker's public key: their signature is checked first", required: true },
      { flags: '--role <role>', text: 'in what capacity', fallback: 'approver' },
      { flags: '--comment <text>', text: 'what is to be remembered of it' },
    ],
    examples: [
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem',
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem --role security-officer --comment CAB-4711',
    ],
    run: async ([bundle = ''], flags, context) => {
      const { approve } = await import('../commands/approve.ts');
      return approve(
        {
          bundle,
          key: String(flags['key']),
          passphraseFile: text(flags['passphraseFile']),
          maker: String(flags['maker']),
          role: String(flags['role']),
          comment: text(flags['comment']),
        },
        context,
      );
    },
  },
  {
    usage: 'inspect <bundle>',
    text: 'show what is in a bundle, by its inventory; or what differs from another one',
    flags: [
      ...keyFlags,
      {
        flags: '--diff <other>',
        text: 'what came, went and changed in OTHER; both may be a bundle, an inventory, a receipt or a lock',
      },
    ],
    examples: [
      'sie-mirror inspect /media/usb/site-a',
      'sie-mirror inspect /media/usb/site-a --json',
      'sie-mirror inspect site-a.receipt.json --diff /media/usb/site-a-2',
    ],
    run: async ([bundle = ''], flags, context) => {
      const other = text(flags['diff']);
      if (other === undefined)
        return (await import('../commands/inspect.ts')).inspect({ bundle, ...trust(flags) }, context);
      return (await import('../commands/diff.ts')).diff({ before: bundle, after: other, ...trust(flags) }, context);
    },
  },
];
