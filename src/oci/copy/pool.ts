import type { Digest } from '../../core/digest.ts';
import { KeyedQueue, type Limit, limitTo, requestsAtOnce } from '../../core/limit.ts';
import type { ContentTarget } from '../../core/ports.ts';

/** What the copies of one command have in common: how much moves at once, and what they have brought already. */
export class CopyPool {
  /** Large bodies. */
  readonly bodies: Limit;
  /** Small bodies, and requests without any, to targets. */
  readonly requests: Limit;
  /** Manifests from sources. */
  readonly reads: Limit;
  readonly #hosts = new Map<string, KeyedQueue>();
  readonly #destinations = new Map<string, Destination>();

  constructor(slots: number) {
    this.bodies = limitTo(slots);
    this.requests = limitTo(requestsAtOnce(slots));
    this.reads = limitTo(requestsAtOnce(slots));
  }

  /** @param host registry or directory  @param repository in which what one copy brings is there for the next */
  destination(host: string, repository: string): Destination {
    const key = `${host}/${repository}`;
    const queue = this.#hosts.get(host) ?? new KeyedQueue();
    const destination = this.#destinations.get(key) ?? new Destination(queue);
    this.#hosts.set(host, queue);
    this.#destinations.set(key, destination);
    return destination;
  }
}

/** A repository that copies of one command bring things to. */
export class Destination {
  readonly #begun = new Map<Digest, Promise<boolean>>();
  readonly #onHost: KeyedQueue;
  #empty: Promise<boolean> | undefined;

  constructor(onHost = new KeyedQueue()) {
    this.#onHost = onHost;
  }

  /** Lets one of those that need a thing bring it; when that fails the next one tries. */
  async once(digest: Digest, bring: () => Promise<void>): Promise<void> {
    for (let other = this.#begun.get(digest); other; other = this.#begun.get(digest)) {
      if (await other) return;
      if (this.#begun.get(digest) === other) this.#begun.delete(digest);
    }
    const mine = bring();
    this.#begun.set(
      digest,
      mine.then(
        () => true,
        () => false,
      ),
    );
    await mine;
  }

  /** One repository of a host gets a blob after the other, so that a registry can mount what it has by then. */
  async inTurn(digest: Digest, push: () => Promise<void>): Promise<void> {
    await this.#onHost.run(digest, push);
  }

  /** Whether it was empty when the first copy asked. An answer that cannot be had costs requests, not the copy. */
  async wasEmpty(target: ContentTarget): Promise<boolean> {
    this.#empty ??= target.isEmpty?.().catch(() => false) ?? Promise.resolve(false);
    return this.#empty;
  }
}
