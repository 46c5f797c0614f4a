/** What a command is going to do, decided before anything is done; `--dry-run` prints this very object. */
export interface Plan<Step> {
  schema: string;
  steps: Step[];
  /** Bytes of content that the steps can move at most. */
  bytes: number;
}
