/** What must hold of every epoch of a simulated cluster, and of stretches of time. */
import { holdersOf } from "../../../src/placement/assignment.ts";
import { defaultPolicy } from "../../../src/placement/policy.ts";
import { sharesOf } from "../../../src/placement/share.ts";
import type { Epoch, SimulatedCluster } from "./cluster.ts";

const violationsMax = 20;
/** A copy that comes back to a member so soon flaps, unless something from outside has just happened. */
const flapMs = 600_000;
const settlingMs = 300_000;

export class Checks {
  readonly violations: string[] = [];
  readonly #cluster: SimulatedCluster;
  /** "shard name" → when the member lost its copy. */
  readonly #lostAtMs = new Map<string, number>();
  #causeAtMs = 0;

  constructor(cluster: SimulatedCluster) {
    this.#cluster = cluster;
    cluster.onEpoch = (epoch) => this.#judge(epoch);
  }

  /** Something from outside: what moves next may be its doing. */
  cause(): void {
    this.#causeAtMs = this.#cluster.nowMs;
  }

  movedNothingSince(sinceMs: number, why: string): void {
    const epochs = this.#cluster.epochs.filter(({ atMs }) => atMs >= sinceMs);
    for (const { assignment, moves } of epochs.slice(0, 3))
      this.fail(`${why}: epoch ${assignment.epoch} moved shard ${moves[0]?.shard} (${moves[0]?.reason.kind})`);
  }

  /** Everything held twice by members that have caught up, within the bounds. */
  isWhole(): void {
    const { current, alive } = this.#cluster;
    if (current === undefined) {
      this.fail("there is no epoch");
      return;
    }
    const members = alive.map(({ name }) => name);
    const behind = current.holders.flatMap((_, shard) => {
      const ready = holdersOf(current, shard).filter(
        ({ name }) => this.#cluster.members.get(name)?.caughtUp.has(shard) === true && members.includes(name),
      );
      return ready.length < Math.min(2, members.length) ? [shard] : [];
    });
    if (behind.length > 0) this.fail(`shards ${behind.slice(0, 5).join(", ")} lack copies that have caught up`);
  }

  isWithinBounds(): void {
    const { current, alive } = this.#cluster;
    if (current === undefined) return;
    const candidates = alive.flatMap(({ name }) => {
      const told = alive.map(({ view }) => view.get(name)).find((it) => it !== undefined);
      return told === undefined ? [] : [told];
    });
    if (candidates.length !== alive.length) return;
    const { copies } = sharesOf(candidates, current.holders.length, defaultPolicy.slack);
    for (const [name, { most, least }] of copies) {
      const count = current.holders.filter((_, shard) =>
        holdersOf(current, shard).some((it) => it.name === name),
      ).length;
      if (count > most || count < least) this.fail(`${name} has ${count} copies; ${least} to ${most} are allowed`);
    }
  }

  #judge({ assignment, moves, atMs, by }: Epoch): void {
    const { current } = this.#cluster;
    for (const [shard, { primary, standby }] of assignment.holders.entries())
      if (primary.name === standby?.name) this.fail(`shard ${shard} has both copies on ${primary.name} (${by})`);
    for (const { shard, from, to, role, reason } of moves) {
      const before = current === undefined ? [] : holdersOf(current, shard).map(({ name }) => name);
      const after = holdersOf(assignment, shard).map(({ name }) => name);
      for (const name of before) if (!after.includes(name)) this.#lostAtMs.set(`${shard} ${name}`, atMs);
      const lostAtMs = to === undefined || before.includes(to) ? undefined : this.#lostAtMs.get(`${shard} ${to}`);
      const hasCause = atMs - this.#causeAtMs < settlingMs;
      if (lostAtMs !== undefined && !hasCause && atMs - lostAtMs < flapMs)
        this.fail(`shard ${shard} came back to ${to} after ${Math.round((atMs - lostAtMs) / 1000)} s (${reason.kind})`);
      if (role === "primary" && from !== undefined && to !== undefined) this.#promotes(shard, to, before, by);
    }
    this.#isPaced(assignment.holders.length, by);
  }

  /** Promotion needs a copy that has caught up, if there is one that lives and that the author can see. */
  #promotes(shard: number, to: string, before: readonly string[], by: string): void {
    const island = this.#cluster.members.get(by)?.island;
    const isReady = (name: string): boolean => {
      const member = this.#cluster.members.get(name);
      return member?.isAlive === true && member.island === island && member.caughtUp.has(shard);
    };
    if (!isReady(to) && before.some((name) => name !== to && isReady(name)))
      this.fail(`shard ${shard}: ${to} was promoted, has not caught up, and another copy has`);
  }

  /** Copies that were asked for before this epoch, and are still being made where its author can see it. */
  #isPaced(shards: number, by: string): void {
    const { current, members } = this.#cluster;
    const island = members.get(by)?.island;
    if (current === undefined || current.epoch === 1n) return;
    let making = 0;
    for (let shard = 0; shard < shards; shard++) {
      const standby = members.get(current.holders[shard]?.standby?.name ?? "");
      if (standby?.isAlive === true && standby.island === island && !standby.caughtUp.has(shard)) making++;
    }
    if (making > defaultPolicy.handoffsMax) this.fail(`${making} copies are being made at a time`);
  }

  /** Keeps the first ones. */
  fail(what: string): void {
    if (this.violations.length < violationsMax)
      this.violations.push(`${(this.#cluster.nowMs / 1000).toFixed(1)} s: ${what}`);
  }
}
