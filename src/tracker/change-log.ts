/**
 * The latest changes of one copy of a shard, so that a watcher that was away goes on where it was.
 *
 * Owns the log's bound and its name: a position is worth something only together with the history it was given in. A
 * copy that was built anew, or a tracker that was restarted, begins another history, for the same number may then stand
 * for another past.
 */
import { randomBytes } from "node:crypto";
import type { Flow } from "../flow/flow.ts";
import type { ChangeQuery, FlowChanges } from "./flow-changes.ts";
import type { FlowFeed } from "./replica.ts";

/** Changes kept for one shard. At 100,000 changes a second in 32 shards: those of the last six seconds. */
export const loggedChangesMax = 20_000;

interface Logged {
  readonly sequence: bigint;
  readonly changes: FlowChanges;
}

export class ChangeLog implements FlowFeed {
  #history = freshHistory();
  /** Oldest first. */
  #messages: Logged[] = [];
  #changes = 0;
  /** Later changes than this message's are all here. */
  #completeAfter = 0n;

  get history(): bigint {
    return this.#history;
  }

  changed(changes: FlowChanges, sequence: bigint): void {
    this.#messages.push({ sequence, changes });
    this.#changes += changes.length;
    let forgotten = 0;
    for (const { sequence: oldest, changes: gone } of this.#messages) {
      if (this.#changes <= loggedChangesMax) break;
      this.#changes -= gone.length;
      this.#completeAfter = oldest;
      forgotten++;
    }
    if (forgotten > 0) this.#messages = this.#messages.slice(forgotten);
  }

  reset(): void {
    this.#history = freshHistory();
    this.#messages = [];
    this.#changes = 0;
    this.#completeAfter = 0n;
  }

  moved(): void {
    this.reset();
  }

  /** What the shard was told is in it all the same. */
  relaid(): void {}

  /**
   * Changes after a position of this history that match, in order. Undefined: some are forgotten, or the history is
   * another.
   */
  since(history: bigint, sequence: bigint, query: ChangeQuery): readonly Flow[] | undefined {
    if (history !== this.#history || sequence < this.#completeAfter) return undefined;
    return this.#messages
      .filter((message) => message.sequence > sequence)
      .flatMap(({ changes }) => [...changes.matching(query)]);
  }
}

/** Never 0, which is what an absent number reads as elsewhere. */
function freshHistory(): bigint {
  return randomBytes(8).readBigUInt64BE() | 1n;
}
