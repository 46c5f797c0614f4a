import { MirrorError } from '../../core/errors.ts';
import { plural, printable } from '../../core/text.ts';
import type { SieWorker } from '../../sie/health.ts';
import type { Account } from './watch.ts';

/** What the workers' own word is worth. */
export interface OwnWord {
  /** `moved`: their counters did; `process`: the processes that answered are theirs; `elsewhere`: another of the profile may have worked. */
  seen: 'moved' | 'process' | 'elsewhere' | 'not seen' | 'not asked';
  /** Work by their counters, when they can be seen. */
  moved?: number;
  /** For people. */
  text: string;
  /** Whether by this alone nobody else can have answered. */
  excludes: boolean;
  /** Whether only for their sum, of which requests of other clients may be a part. */
  isSum?: boolean;
}

/** Who was asked through the gateway, and what came of it. */
export interface Asked {
  model: string;
  /** What the workers said themselves. */
  accounts: readonly Account[];
  /** Workers that are said to have answered; undefined when it is the one at the address that was given. */
  wanted: readonly SieWorker[] | undefined;
  /** Others that could have. */
  others: readonly SieWorker[];
  requests: number;
  /** Processes that signed the answers; undefined when one was not signed. */
  instances: ReadonlySet<string> | undefined;
}

/** @throws E_SMOKE when those who are said to have answered did not by their own word */
export function hearWorkers(asked: Asked): OwnWord {
  const { accounts, wanted } = asked;
  if (accounts.length === 0)
    return { seen: 'not asked', text: 'not asked: give `--worker URL`, or `--worker listed`', excludes: false };
  const own = ownOf(asked);
  const rivals = accounts.filter((account) => sideOf(account, asked) === 'rival');
  checkRivals(asked, own, rivals);
  const isWhole = own.length >= (wanted?.length ?? 1);
  return byProcess(asked, own, isWhole) ?? byCounters(asked, own, rivals, isWhole) ?? unseen(asked);
}

type Side = 'wanted' | 'rival' | 'unknown';

/** Which worker an account is of: as the gateway lists its address, or by the machine profile that it says it is of. */
function sideOf({ name, profile }: Account, { wanted, others }: Asked): Side {
  // Without a gateway the one at the address is the one that answers.
  if (wanted === undefined) return 'wanted';
  const among = (workers: readonly SieWorker[]): boolean =>
    workers.some((worker) =>
      name === undefined ? worker.profile.toLowerCase() === profile?.toLowerCase() : worker.name === name,
    );
  const [isWanted, isRival] = [among(wanted), among(others)];
  if (isWanted === isRival) return 'unknown';
  return isWanted ? 'wanted' : 'rival';
}

/** Of the wanted workers, each once: an address that is not listed may be another one of a worker that was asked already. */
function ownOf(asked: Asked): Account[] {
  const { accounts, wanted } = asked;
  const own = accounts.filter((account) => sideOf(account, asked) === 'wanted');
  if (wanted === undefined) return own;
  const named = own.filter(({ name }) => name !== undefined);
  return named.length > 0 || own.length > wanted.length ? named : own;
}

/** @throws E_SMOKE when others did by their own word what nobody else is known to have done */
function checkRivals({ instances, requests, model }: Asked, own: readonly Account[], rivals: readonly Account[]): void {
  const signer = rivals.find(({ processes }) => processes.some((id) => instances?.has(id) === true));
  if (signer) throw foreignWork(`answers are signed by ${listed([signer])}`, model);
  const busy = rivals.find(({ moved }) => moved !== undefined && moved >= requests);
  if (busy && own.every(({ moved, processes }) => moved === undefined && processes.length === 0))
    throw foreignWork(
      `the counters of ${listed([busy])} moved by ${busy.moved} for ${plural(requests, 'request')}`,
      model,
    );
}

function byProcess({ instances, model }: Asked, own: readonly Account[], isWhole: boolean): OwnWord | undefined {
  const processes = new Set(own.flatMap((account) => account.processes));
  if (instances === undefined || instances.size === 0 || processes.size === 0) return undefined;
  const foreign = [...instances].filter((id) => !processes.has(id));
  if (foreign.length === 0) {
    const text = `the answers are signed by ${listed(own)}`;
    return { seen: 'process', text, excludes: true };
  }
  const told = own.every((account) => account.processes.length > 0);
  if (isWhole && told)
    throw foreignWork(
      `the process \`${printable(foreign[0] ?? '').slice(0, 12)}\` answered, which is none of ${listed(own)}`,
      model,
    );
  return { seen: 'elsewhere', text: `others than ${listed(own)} answered too`, excludes: false };
}

function byCounters(
  { requests, others, model }: Asked,
  own: readonly Account[],
  rivals: readonly Account[],
  isWhole: boolean,
): OwnWord | undefined {
  const seen = own.filter(({ moved }) => moved !== undefined);
  if (seen.length === 0) return undefined;
  const moved = seen.reduce((sum, account) => sum + (account.moved ?? 0), 0);
  const text = `moved by ${moved} for ${plural(requests, 'request')}, at ${listed(seen)}`;
  if (moved < requests && isWhole && seen.length === own.length)
    throw foreignWork(
      moved === 0
        ? `answers came, but the counters of ${listed(seen)} did not move`
        : `${requests} answers came, but the counters of ${listed(seen)} moved by ${moved} only`,
      model,
    );
  if (moved < requests) return { seen: moved === 0 ? 'elsewhere' : 'moved', moved, text, excludes: false };
  const isIdle = others.every(({ name }) => rivals.some((account) => account.name === name && account.moved === 0));
  return { seen: 'moved', moved, text, excludes: isIdle || (isWhole && moved === requests), isSum: !isIdle };
}

function unseen(asked: Asked): OwnWord {
  const why = asked.accounts.map((account) => {
    const { name, profile, url, unseen: reason } = account;
    const isKnown = name !== undefined || sideOf(account, asked) !== 'unknown';
    const says = profile === undefined ? '' : `, which says it is of the machine profile \`${printable(profile)}\``;
    return `${url}: ${isKnown ? (reason ?? 'nothing that counts this model') : `not known which worker this is${says}`}`;
  });
  return { seen: 'not seen', text: `not seen: ${why.join('; ')}`, excludes: false };
}

function foreignWork(message: string, model: string): MirrorError {
  return new MirrorError('E_SMOKE', `${message}: another worker gave them`, {
    hint: 'see which workers share the pool (SIE_POOL), and whether `--worker` names the pods that should answer; `--worker listed` asks all that the gateway knows',
    at: { side: 'target', item: model },
  });
}

function listed(accounts: readonly Account[]): string {
  return accounts
    .map(({ name, url, profile }) => `\`${name ?? url}\`${profile === undefined ? '' : ` (${printable(profile)})`}`)
    .join(', ');
}
