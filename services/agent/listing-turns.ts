/** Listings of the kernel, one after the other; of each address there is at most one that has not begun. */
import type { IpAddress } from "../../src/flow/address.ts";

export class ListingTurns {
  #last: Promise<void> = Promise.resolve();
  readonly #waiting = new Map<IpAddress, Promise<void>>();

  /** Joins the one that waits, for it begins after this call. Rejects as it does. */
  take(address: IpAddress, work: () => Promise<void>): Promise<void> {
    const waiting = this.#waiting.get(address);
    if (waiting !== undefined) return waiting;
    const turn = this.#last.then(() => {
      this.#waiting.delete(address);
      return work();
    });
    this.#waiting.set(address, turn);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
