import { expect, test } from "vitest";
import { type Candidate, takesShards } from "../../../src/placement/candidate.ts";
import type { Move } from "../../../src/placement/move.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { Placer } from "../../../src/tracker/placer.ts";
import { MemoryCandidates, SharedEpochs } from "../../support/epochs.ts";
import { candidates, countOf } from "../../support/placement.ts";
import { quietLog } from "../../support/tracker.ts";

/** Some members, each with a placer and its own view of the others; time goes on by hand. */
class Cluster implements AsyncDisposable {
  readonly epochs = new SharedEpochs();
  readonly views: readonly MemoryCandidates[];
  readonly moves: { readonly epoch: bigint; readonly moves: readonly Move[] }[] = [];
  readonly #stop = new AbortController();
  readonly #runs: Promise<unknown>[];
  #nowMs = 0;

  constructor(size: number) {
    this.views = candidates(size).map(() => new MemoryCandidates(candidates(size)));
    const clock = { nowMs: () => this.#nowMs, monotonicMs: () => this.#nowMs };
    this.#runs = this.views.map(async (view, index) => {
      const placer = new Placer({
        shards: 8,
        epochs: this.epochs.view(),
        candidates: view,
        clock,
        log: quietLog,
        random: () => index / 100,
        onMoves: (epoch, moves) => this.moves.push({ epoch, moves }),
      });
      await placer.run(this.#stop.signal).catch((error: unknown) => {
        if (error !== this.#stop.signal.reason) throw error;
      });
    });
  }

  get newest() {
    return this.epochs.created.at(-1);
  }

  become(members: readonly Candidate[], afterMs: number): void {
    this.#nowMs += afterMs;
    for (const view of this.views) view.become(members);
  }

  /** Time passes in small steps while the placers go on, until the condition holds. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const pass = (): boolean => {
      this.become(this.views[0]?.now() ?? [], 500);
      return condition();
    };
    await waitFor(pass, { what, timeoutMs: 20_000, signal: this.#stop.signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the test is over"));
    await Promise.all(this.#runs);
  }
}

test("of several members that decide at once one creates the epoch, and the others take it (P12)", async () => {
  await using cluster = new Cluster(4);
  await cluster.until("the first epoch", () => cluster.newest !== undefined);
  cluster.become(candidates(3), 40_000);
  await cluster.until("no copy at m4", () => countOf(cluster.newest, "m4") === 0);
  expect(cluster.epochs.created.map(({ epoch }) => epoch)).toEqual(cluster.epochs.created.map((_, n) => BigInt(n + 1)));
  expect(cluster.moves.map(({ epoch }) => epoch)).toEqual(cluster.epochs.created.map(({ epoch }) => epoch));
  expect(cluster.moves[0]?.moves.every(({ reason }) => reason.kind === "first")).toBe(true);
});

test("makes whole what a death has cost, by paced epochs, and then rests (P7)", { timeout: 30_000 }, async () => {
  await using cluster = new Cluster(3);
  await cluster.until("the first epoch", () => cluster.newest !== undefined);
  cluster.become(candidates(2), 40_000);
  const isWhole = (): boolean => cluster.newest?.holders.every(({ standby }) => standby !== undefined) === true;
  await cluster.until("two copies of each shard", () => countOf(cluster.newest, "m3") === 0 && isWhole());
  expect(candidates(2).every(takesShards)).toBe(true);
  const { length } = cluster.epochs.created;
  for (let steps = 0; steps < 3; steps++) await cluster.until("time to pass", () => true);
  expect(cluster.epochs.created).toHaveLength(length);
});

test("what could not be created in time is computed anew, of the members that there are then (P12)", {
  timeout: 30_000,
}, async () => {
  await using cluster = new Cluster(3);
  await cluster.until("the first epoch", () => cluster.newest !== undefined);
  cluster.epochs.isThere = false;
  cluster.become(candidates(2), 40_000);
  // Proposals without m3 wait for the log now, for five seconds each. Then m3 is back, and nothing need change.
  const outlive = async (what: string): Promise<void> => {
    const endMs = performance.now() + 5_500;
    await cluster.until(what, () => performance.now() > endMs);
  };
  await outlive("the proposals to be given up");
  cluster.become(candidates(3), 1_000);
  await outlive("those of the meantime to be given up");
  cluster.epochs.isThere = true;
  cluster.epochs.changed();
  for (let steps = 0; steps < 5; steps++) await cluster.until("time to pass", () => true);
  expect(cluster.moves.flatMap(({ moves }) => moves).map(({ reason }) => reason.kind)).not.toContain("promoted");
  expect(cluster.epochs.created.every((epoch) => countOf(epoch, "m3") > 0)).toBe(true);
});
