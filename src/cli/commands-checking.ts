import type { CommandRow } from './command-row.ts';
import { MirrorError } from '../core/errors.ts';
import { collect, fromFlag, junitFlag, keyFlags, list, signCommandFlags, signing, text, trust } from './flags.ts';
import { refuseOutputsInside, runVerify, verifiedPlace } from './verify-place.ts';

/** What is asked of a bundle on either side of the gap, and of what came of it in the zone. */
export const checkingCommands: readonly CommandRow[] = [
  {
    usage: 'verify [place]',
    text: 'check every byte of a bundle, of a store, or of what lies in the zone; or the signature of a receipt; read-only',
    flags: [
      ...keyFlags,
      fromFlag,
      { flags: '--partial', text: 'check the volumes that are here; the others are no fault' },
      { flags: '--store <dir>', text: 'check a store against its lock instead of a bundle' },
      {
        flags: '--registry <place>',
        text: 'check the images at HOST[:PORT][/PREFIX] against a receipt; with a bucket, both',
      },
      {
        flags: '--receipt <file>',
        text: 'what import wrote; can be given again (default: the receipts that lie with the models)',
        parse: collect,
      },
      junitFlag,
      { flags: '--html <file>', text: 'write the verdict as one page of evidence, for people and paper' },
    ],
    examples: [
      'sie-mirror verify /media/usb/site-a --key sie-mirror.pub.pem',
      'sie-mirror verify /media/usb/site-a --require 2 --key maker.pem --key officer.pem --html evidence.html',
      'sie-mirror verify site-a.receipt.json --key zone.pub.pem',
      'node /media/usb/site-a/sie-mirror.mjs verify /media/usb/site-a --key sie-mirror.pub.pem --json',
      'sie-mirror verify --store ./sie-mirror-store',
      'sie-mirror verify s3://models/2026-11/models --receipt site-a.receipt.json --html evidence.html',
      'sie-mirror verify s3://models/2026-11/models --registry registry.zone:5000/mirror --receipt site-a.receipt.json',
    ],
    check: refuseOutputsInside,
    subject: verifiedPlace,
    // Only what was looked at can be bad.
    verdict: ({ exit }) => (exit === 4 ? 'BAD' : 'NOT PROVEN'),
    run: async ([place], flags, context) => runVerify(place, flags, context),
  },
  {
    usage: 'approve <bundle>',
    text: 'add the signature of a second person to a bundle that its maker has signed',
    flags: [
      { flags: '--key <key>', text: 'private key of who approves' },
      ...signCommandFlags('the statement'),
      fromFlag,
      { flags: '--maker <pub.pem>', text: "the maker's public key: their signature is checked first", required: true },
      { flags: '--role <role>', text: 'in what capacity', fallback: 'approver' },
      { flags: '--comment <text>', text: 'what is to be remembered of it' },
    ],
    examples: [
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem',
      'sie-mirror approve /media/usb/site-a --key officer.key.pem --maker maker.pub.pem --role security-officer --comment CAB-4711',
      "sie-mirror approve /media/usb/site-a --sign-cmd './sign-with-card.sh' --sign-pub officer.pub.pem --maker maker.pub.pem",
    ],
    run: async ([bundle = ''], flags, context) => {
      const { approve } = await import('../commands/approve.ts');
      return approve(
        {
          bundle,
          from: list(flags['from']),
          ...signing({ ...flags, sign: flags['key'] }),
          maker: String(flags['maker']),
          role: String(flags['role']),
          comment: text(flags['comment']),
        },
        context,
      );
    },
  },
  {
    usage: 'inspect [record]',
    text: 'show what a bundle, an inventory, a receipt or a lock speaks of; or what differs between two of them',
    flags: [
      ...keyFlags,
      {
        flags: '--diff <other...>',
        text: 'what came, went and changed from the one to the other: `inspect A --diff B` or `inspect --diff A B`',
      },
    ],
    examples: [
      'sie-mirror inspect /media/usb/site-a',
      'sie-mirror inspect /media/usb/site-a --json',
      'sie-mirror inspect site-a.receipt.json',
      'sie-mirror inspect site-a.receipt.json --diff /media/usb/site-a-2',
    ],
    run: async (args, flags, context) => {
      const others = list(flags['diff']);
      const [first, second, ...more] = [...args, ...others];
      if (first === undefined || more.length > 0 || (others.length > 0 && second === undefined))
        throw new MirrorError(
          'E_USAGE',
          `\`inspect\` takes one record, with \`--diff\` two; ${args.length + others.length} were given`,
          {
            hint: 'name a bundle, an inventory, a receipt or a lock',
          },
        );
      if (second === undefined)
        return (await import('../commands/inspect.ts')).inspect({ record: first, ...trust(flags) }, context);
      return (await import('../commands/inspect/diff.ts')).diff(
        { before: first, after: second, ...trust(flags) },
        context,
      );
    },
  },
];
