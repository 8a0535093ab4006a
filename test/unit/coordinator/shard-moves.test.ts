/** Where an operator may move a shard: to whoever answers, and to agents whose tracker will. */
import { describe, expect, test } from "vitest";
import { membersOf } from "../../../services/coordinator/cluster-view.ts";
import { ShardMoves } from "../../../services/coordinator/shard-moves.ts";
import { MemoryBus } from "../../../src/bus/memory.ts";
import type { ClusterMember } from "../../../src/cluster/membership.ts";
import type { Leader } from "../../../src/coordinator/leader.ts";
import type { PeerReport } from "../../../src/tracker/peers.ts";
import { SharedEpochs } from "../../support/epochs.ts";
import { Believed, member } from "../../support/membership.ts";

const signal = AbortSignal.timeout(10_000);
const whole = { phase: "serving", lag: 0, flows: 1, complete: true, applied: 1n } as const;
const t1: PeerReport = { name: "t1", endpoint: "t1:1", epoch: 1n, replicas: new Map([[0, whole]]) };

const host = (name: string, change: Partial<ClusterMember> = {}): ClusterMember => ({
  ...member(name),
  roles: ["tracker", "agent"],
  ...change,
});

async function move(to: string, ...members: readonly ClusterMember[]) {
  const shared = new SharedEpochs();
  shared.create({ epoch: 1n, holders: [{ primary: { name: "t1", endpoint: "t1:1" } }] });
  const moves = new ShardMoves({
    epochs: shared.view(),
    bus: new MemoryBus(),
    membership: new Believed("c1", members),
    reports: async () => [t1],
    audit: () => undefined,
  });
  const reply = await moves.order({ kind: "move", shard: 0, to }, "me", signal);
  return { reply, newest: shared.created.at(-1)?.holders[0]?.primary };
}

describe("a shard is moved", () => {
  test("to an agent that may host a tracker, whether that runs yet or not", async () => {
    const { reply, newest } = await move("vm-a", member("t1"), host("vm-a"));
    expect(reply).toEqual({ ok: true, value: 2n });
    expect(newest).toEqual({ name: "vm-a", endpoint: "vm-a:1" });
  });

  test.each([
    ["an agent that gives its shards away", [host("vm-a", { hosting: "draining" })], /gives its shards away/],
    ["an agent that is dead", [host("vm-a", { state: "dead" })], /no member vm-a; those that answer: t1/],
    ["a dedicated tracker that does not answer", [member("vm-a")], /no member vm-a/],
  ] as const)("not to %s", async (_who, members, says) => {
    const { reply, newest } = await move("vm-a", ...members);
    expect(reply).toMatchObject({ ok: false, error: { code: "UNKNOWN_MEMBER", message: expect.stringMatching(says) } });
    expect(newest?.name).toBe("t1");
  });
});

describe("the list of members", () => {
  test("has an agent that gossips once, with what it hosts, and others by their streams", () => {
    const node = (name: string, kind: string) => [name, { name, kind, connected: true }] as const;
    const nodes = new Map([node("vm-a", "agent"), node("vm-b", "agent"), node("gw1", "gateway")]);
    const leader = { cluster: { nodes } } as unknown as Leader;
    const coordinator = { ...member("c1"), roles: ["coordinator"] as const };
    const views = membersOf([host("vm-a", { hosting: "closed" }), coordinator], leader);
    expect(views.map(({ name, roles, hosting }) => [name, roles.join(" "), hosting])).toEqual([
      ["c1", "coordinator", undefined],
      ["vm-a", "tracker agent", "closed"],
      ["vm-b", "agent", undefined],
      ["gw1", "gateway", undefined],
    ]);
  });
});
