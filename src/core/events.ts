/** What a running command tells; the cli decides what of it a person sees. Byte counts are of content, not of overhead. */
export type Event =
  | { type: 'stage'; text: string }
  /** So much more is to be done in this stage. */
  | { type: 'total'; bytes: number }
  | { type: 'bytes'; bytes: number }
  | { type: 'item'; item: string; state: 'done' | 'present' | 'failed'; bytes: number }
  | { type: 'note'; text: string }
  | { type: 'warning'; text: string };

export type Reporter = (event: Event) => void;
