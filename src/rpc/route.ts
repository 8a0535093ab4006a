/**
 * Which coordinator a caller asks next. Pure: the caller tells what came of each try and how long it has been at it.
 *
 * One round asks every endpoint once, and at once whichever leader is named. When a round finds nobody at all the
 * coordinators are unreachable; when it finds followers only, an election may be under way, and another round is worth
 * a wait.
 */

export type TryOutcome =
  | { readonly kind: "unreachable"; readonly cause: string }
  /** `leader`: the endpoint that the follower names; `cause`: its own words. */
  | { readonly kind: "not-leader"; readonly leader?: string; readonly cause: string };

export type NextTry =
  | { readonly kind: "try"; readonly endpoint: string; readonly waitMs: number }
  /** Each endpoint asked in the last round, and what came of it. */
  | { readonly kind: "give-up"; readonly reasons: readonly string[] };

/** Longer than it takes to see that a leader is gone and to elect another. */
export const leaderlessMsMax = 15_000;
const roundWaitMs = 250;

export class Route {
  readonly #endpoints: readonly string[];
  #asked = new Map<string, string>();
  #sawFollower = false;

  /** `endpoints` in order of preference; at least one. */
  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  first(): string {
    return this.#ask(this.#endpoints[0] ?? "");
  }

  after(endpoint: string, outcome: TryOutcome, elapsedMs: number): NextTry {
    this.#asked.set(endpoint, reasonOf(outcome));
    if (outcome.kind === "not-leader") {
      this.#sawFollower = true;
      const { leader } = outcome;
      if (leader !== undefined && !this.#asked.has(leader)) return this.#try(leader, 0);
    }
    const untried = this.#endpoints.find((candidate) => !this.#asked.has(candidate));
    if (untried !== undefined) return this.#try(untried, 0);
    if (!this.#sawFollower || elapsedMs >= leaderlessMsMax) return { kind: "give-up", reasons: this.#reasons() };
    this.#asked = new Map();
    this.#sawFollower = false;
    return this.#try(this.#endpoints[0] ?? "", roundWaitMs);
  }

  #try(endpoint: string, waitMs: number): NextTry {
    return { kind: "try", endpoint: this.#ask(endpoint), waitMs };
  }

  #ask(endpoint: string): string {
    this.#asked.set(endpoint, "asked");
    return endpoint;
  }

  #reasons(): string[] {
    return [...this.#asked].map(([endpoint, reason]) => `${endpoint}: ${reason}`);
  }
}

function reasonOf(outcome: TryOutcome): string {
  switch (outcome.kind) {
    case "unreachable":
      return outcome.cause;
    case "not-leader":
      return outcome.leader === undefined ? outcome.cause : `says that ${outcome.leader} leads`;
    default:
      return outcome satisfies never;
  }
}
