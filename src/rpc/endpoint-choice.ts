/**
 * Which coordinator to try next, and after how long a wait: the configured ones in turn, and the leader's hint first.
 *
 * Waits are drawn from zero to a bound that doubles with each failure in a row, so that the nodes of a lost coordinator
 * don't return together. A hint is followed at once, but not for ever: two that each call the other the leader would
 * keep a node running between them.
 */

/** Hints that are followed in a row without a wait. */
const hintsMax = 3;
const firstBoundMs = 100;
const boundMaxMs = 2_000;

export interface EndpointTry {
  readonly endpoint: string;
  readonly waitMs: number;
}

export type ConnectionEnd =
  /** The coordinator is not the leader; `leader` is the endpoint that it names. */
  | { readonly kind: "not-leader"; readonly leader: string | undefined }
  /** Lost, or never had. `served`: states came over it before. */
  | { readonly kind: "lost"; readonly served: boolean };

export class EndpointChoice {
  readonly #endpoints: readonly string[];
  readonly #random: () => number;
  #index: number;
  #hinted = 0;
  #failures = 0;

  /** @param random 0 to 1, below 1; spreads a cluster's nodes over its coordinators */
  constructor(endpoints: readonly string[], random: () => number) {
    if (endpoints.length === 0) throw new RangeError("a node needs an endpoint of a coordinator");
    this.#endpoints = endpoints;
    this.#random = random;
    this.#index = Math.floor(random() * endpoints.length);
  }

  first(): EndpointTry {
    return { endpoint: this.#current(), waitMs: 0 };
  }

  after(end: ConnectionEnd): EndpointTry {
    if (end.kind === "not-leader" && end.leader !== undefined && this.#hinted < hintsMax) {
      this.#hinted++;
      return { endpoint: end.leader, waitMs: 0 };
    }
    if (end.kind === "lost" && end.served) this.#failures = 0;
    this.#hinted = 0;
    this.#index = (this.#index + 1) % this.#endpoints.length;
    const bound = Math.min(boundMaxMs, firstBoundMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, maxDoublings);
    return { endpoint: this.#current(), waitMs: this.#random() * bound };
  }

  #current(): string {
    return this.#endpoints[this.#index] ?? "";
  }
}

const maxDoublings = Math.ceil(Math.log2(boundMaxMs / firstBoundMs));
