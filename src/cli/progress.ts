import type { Ora } from 'ora';
import type { Event, Reporter } from '../core/events.ts';
import { formatBytes, printable } from '../core/text.ts';

export type ProgressKind = 'tty' | 'plain' | 'json' | 'none';

/** Shows events on a stream; `stop` leaves it clean for what is printed next. */
export interface Progress {
  report: Reporter;
  stop(): void;
}

const plainEveryMs = 10_000;
const ttyEveryMs = 100;
const jsonEveryMs = 500;

/**
 * @param stream standard error: standard output is for results
 * @param plain without colours
 */
export async function makeProgress(kind: ProgressKind, stream: NodeJS.WriteStream, plain = false): Promise<Progress> {
  if (kind === 'json') return new JsonProgress(stream);
  if (kind === 'none')
    return {
      report: (event) => event.type === 'warning' && void stream.write(`warning: ${printable(event.text)}\n`),
      stop: () => {},
    };
  if (kind === 'plain') return new PlainProgress(stream);
  const { default: ora } = await import('ora');
  return new TtyProgress(stream, ora({ stream, discardStdin: false, ...(plain ? { color: false } : {}) }));
}

/** What has moved of what is to move, since the last stage began. */
class Meter {
  #stage = '';
  #total = 0;
  #done = 0;
  #start = Date.now();

  take(event: Event): void {
    if (event.type === 'stage') {
      this.#stage = event.text;
      this.#total = 0;
      this.#done = 0;
      this.#start = Date.now();
    }
    if (event.type === 'total') {
      if (this.#total === 0) this.#start = Date.now();
      this.#total += event.bytes;
    }
    if (event.type === 'bytes') this.#done += event.bytes;
  }

  get moving(): boolean {
    return this.#total > 0 && this.#done > 0;
  }

  get line(): string {
    if (!this.moving) return printable(this.#stage);
    const seconds = Math.max((Date.now() - this.#start) / 1000, 0.001);
    const rate = this.#done / seconds;
    const left =
      this.#total > this.#done && seconds > 2 ? `, ${formatSeconds((this.#total - this.#done) / rate)} left` : '';
    const percent = Math.min(100, Math.floor((this.#done / this.#total) * 100));
    return `${printable(this.#stage)}  ${formatBytes(this.#done)} of ${formatBytes(this.#total)} (${percent}%), ${formatBytes(rate)}/s${left}`;
  }
}

/** Leaves out the middle: the start says what is done, the end how far it is. */
function shorten(line: string, width: number): string {
  if (line.length <= width) return line;
  const end = Math.min(Math.floor(width * 0.6), line.length);
  return `${line.slice(0, Math.max(0, width - end - 1))}…${line.slice(line.length - end)}`;
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  return whole < 3600
    ? `${Math.floor(whole / 60)} min ${whole % 60} s`
    : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** One object a line; bytes are added up, or a large transfer would be millions of lines. */
class JsonProgress implements Progress {
  readonly #stream: NodeJS.WriteStream;
  #bytes = 0;
  #last = Date.now();

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  readonly report: Reporter = (event) => {
    if (event.type === 'bytes') {
      this.#bytes += event.bytes;
      if (Date.now() - this.#last < jsonEveryMs) return;
    }
    this.stop();
    if (event.type !== 'bytes') this.#write(event);
  };

  stop(): void {
    if (this.#bytes > 0) this.#write({ type: 'bytes', bytes: this.#bytes });
    this.#bytes = 0;
    this.#last = Date.now();
  }

  #write(event: Event): void {
    this.#stream.write(`${printable(JSON.stringify(event))}\n`);
  }
}

class PlainProgress implements Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #meter = new Meter();
  #last = Date.now();

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  readonly report: Reporter = (event) => {
    this.#meter.take(event);
    if (event.type === 'stage' || event.type === 'note') this.#write(printable(event.text));
    if (event.type === 'warning') this.#write(`warning: ${printable(event.text)}`);
    if (event.type === 'bytes' && Date.now() - this.#last >= plainEveryMs) this.#write(this.#meter.line);
  };

  stop(): void {}

  #write(text: string): void {
    this.#last = Date.now();
    this.#stream.write(`${text}\n`);
  }
}

class TtyProgress implements Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #meter = new Meter();
  readonly #spinner: Ora;
  #last = 0;

  constructor(stream: NodeJS.WriteStream, spinner: Ora) {
    this.#stream = stream;
    this.#spinner = spinner;
  }

  readonly report: Reporter = (event) => {
    this.#meter.take(event);
    if (event.type === 'note' || event.type === 'warning') this.#above(event);
    if (event.type === 'stage' || (event.type === 'bytes' && Date.now() - this.#last >= ttyEveryMs)) this.#show();
  };

  stop(): void {
    this.#spinner.stop();
  }

  #show(): void {
    this.#last = Date.now();
    // A line that wraps cannot be drawn over cleanly on every terminal.
    this.#spinner.start(shorten(this.#meter.line, this.#stream.columns - 4));
  }

  #above(event: { type: 'note' | 'warning'; text: string }): void {
    this.#spinner.stop();
    this.#stream.write(`${event.type === 'warning' ? 'warning: ' : ''}${printable(event.text)}\n`);
    this.#show();
  }
}
