import { beforeEach, describe, expect, it } from "vitest";
import { type Content, FencedNode } from "../../../src/coordinator/fenced-node.ts";
import { nextTerm, TermHistory, termsAheadMax } from "../../../src/coordinator/term-history.ts";
import { type Fence, judgeFence } from "../../../src/node/fence.ts";
import { emptyStatus } from "../../../src/node/status.ts";
import type { DesiredState } from "../../../src/rpc/node-codec.ts";
import { ip } from "../../support/fake-cluster.ts";
import { FakeNode } from "../../support/fake-node.ts";

const content = (link: number): Content => ({
  kind: "gateway",
  state: {
    fabric: [],
    publicPrefixes: [],
    probeSource: ip("192.0.2.1"),
    mappings: [],
    accepts: [],
    proofs: [{ id: "p", link, targetPrivate: ip("10.0.0.1"), mtu: 1500 }],
  },
});

describe("a node under one leader", () => {
  const fake = new FakeNode("gw1", "gateway", 1);
  let sent: DesiredState[];
  let ended: string[];
  const session = { send: (desired: DesiredState) => void sent.push(desired), end: () => void ended.push("ended") };
  const leaseOf = (term: bigint) => term.toString(16).padStart(24, "0");
  let history: TermHistory;
  const fenced = (term: bigint, name = "c1") =>
    new FencedNode("gw1", "gateway", { term, name, lease: leaseOf(term), history });
  const hello = (held?: Fence) => ({ ...fake.hello(), ...(held && { held }) });
  const lastFence = () => (sent.at(-1) as DesiredState).fence;

  beforeEach(() => {
    sent = [];
    ended = [];
    const known = (term: bigint, leader: string) => [term, { leader, lease: leaseOf(term) }] as const;
    history = new TermHistory(new Map([known(1n, "c1"), known(2n, "c9")]), 0n);
  });

  it("is given each content once, with a generation that goes up", () => {
    const node = fenced(1n);
    node.connect(hello(), session, 0);
    for (const link of [1, 1, 2, 2, 1]) node.want(content(link));
    expect(sent.map(({ fence }) => fence.generation)).toEqual([1n, 2n, 3n]);
    expect(sent[0]?.fence.digest).toBe(sent[2]?.fence.digest);
  });

  it("is sent nothing when it holds exactly this already, by the same leader", () => {
    const before = fenced(1n);
    before.connect(hello(), session, 0);
    before.want(content(1));
    const held = lastFence();
    before.connect(hello(held), session, 0);
    expect(sent.length).toBe(1);
    expect(before.facts().applied).toBeDefined();
    expect(before.current).toBe(true);
  });

  it("gives its name to no other host while it is connected (F6)", () => {
    const node = fenced(1n);
    const card = (linkAddress: string) => [{ name: "eth0", linkAddress, mtu: 1500, addresses: [] }];
    const first = { ...hello(), boot: "01", devices: card("02:00:00:00:00:01"), privateAddresses: [ip("10.0.0.1")] };
    const other = { ...first, boot: "02", devices: card("02:00:00:00:00:02") };
    expect(node.rivalOf(first)).toBeUndefined();
    node.connect(first, session, 0);
    expect(node.rivalOf(other)).toBe(
      "gw1 is connected from the host with 10.0.0.1: give this node another name, or stop that one",
    );
    expect(node.rivalOf({ ...first, boot: "02" })).toBeUndefined();
    expect(node.rivalOf({ ...other, boot: "01" })).toBeUndefined();
    expect(node.rivalOf({ ...other, devices: card("00:00:00:00:00:00") })).toBeUndefined();
    node.disconnect(session);
    expect(node.rivalOf(other)).toBeUndefined();
  });

  it("is told the new term by a new leader, and counts only once it has acknowledged that", () => {
    const before = fenced(1n);
    before.connect(hello(), session, 0);
    before.want(content(1));
    const held = lastFence();
    const after = fenced(2n, "c2");
    after.connect(hello(held), session, 0);
    after.want(content(1));
    expect(lastFence()).toEqual({ ...held, term: 2n, leader: "c2", lease: leaseOf(2n) });
    expect(judgeFence(held, lastFence())).toEqual({ kind: "repeat" });
    expect(after.facts().applied).toBeUndefined();
    after.report(session, { ...emptyStatus, applied: held }, 0);
    expect(after.facts().applied).toBeUndefined();
    after.report(session, { ...emptyStatus, applied: lastFence() }, 0);
    expect(after.facts().applied).toEqual(content(1).state);
  });

  it("gets a generation above what it holds, even when the store has forgotten that", () => {
    const node = fenced(3n);
    const held = { term: 2n, leader: "c9", generation: 41n, digest: "ab".repeat(32) };
    node.want(content(1));
    node.connect(hello(held), session, 0);
    expect(lastFence().generation).toBe(42n);
    expect(judgeFence(held, lastFence())).toEqual({ kind: "apply" });
    node.report(session, { ...emptyStatus, applied: { ...held, generation: 50n } }, 0);
    expect(lastFence().generation).toBe(51n);
  });

  it("proves a leader stale that it has outlived", () => {
    const newer = { term: 5n, leader: "c2", generation: 1n, digest: "ab".repeat(32) };
    const node = fenced(4n);
    node.want(content(1));
    expect(node.connect(hello(newer), session, 0)).toEqual(newer);
    expect(sent).toEqual([]);
    const same = { ...newer, term: 4n };
    expect(node.connect(hello(same), session, 0)).toEqual(same);
    expect(judgeFence(newer, { ...newer, term: 4n, leader: "c1", generation: 9n }).kind).toBe("refuse");
  });

  describe("whose state the store can't explain (F7)", () => {
    const older = { term: 2n, leader: "c9", generation: 41n, digest: "ab".repeat(32) };

    it.each([
      ["a term that the store does not have", { ...older, term: 3n }, "the store has no such term"],
      ["a term of another leader", { ...older, leader: "c8" }, "is another one"],
      ["another lease of the same number and name", { ...older, lease: "ff".repeat(12) }, "is another one"],
    ])("is given nothing while it holds %s, and what it reports counts for nothing", (_, held, reason) => {
      const node = fenced(7n);
      node.want(content(1));
      expect(node.connect(hello(held), session, 0)).toBeUndefined();
      node.want(content(2));
      node.report(session, { ...emptyStatus, applied: held, retired: [ip("10.0.0.9")] }, 0);
      expect(sent).toEqual([]);
      expect(node.unexplained).toContain(reason);
      expect(node.unexplained).toContain("baton cluster begin-anew");
      expect([node.current, node.facts().applied, node.facts().status.retired]).toEqual([false, undefined, []]);
    });

    it("is given the newest state once an operator has accepted it, above what it holds", () => {
      const node = fenced(7n);
      node.want(content(1));
      node.connect(hello({ ...older, term: 3n }), session, 0);
      history.accept(7n);
      expect(node.reconsider()).toBe(true);
      expect(sent.map(({ fence }) => [fence.term, fence.generation])).toEqual([[7n, 42n]]);
      expect(node.unexplained).toBeUndefined();
      expect(node.reconsider()).toBe(false);
    });

    it("is given orders again when a leader of this store has ordered it meanwhile", () => {
      const node = fenced(7n);
      node.want(content(1));
      node.connect(hello({ ...older, term: 3n }), session, 0);
      node.report(session, { ...emptyStatus, applied: older }, 0);
      expect(node.unexplained).toBeUndefined();
      expect(sent).toHaveLength(1);
    });

    it("is no reason for the leader to go, and can't be accepted, when its term is beyond all sense (F8)", () => {
      const node = fenced(7n);
      node.want(content(1));
      const held = { ...older, term: 7n + termsAheadMax + 1n };
      expect(node.connect(hello(held), session, 0)).toBeUndefined();
      history.accept(7n);
      expect(node.reconsider()).toBe(false);
      expect([node.acceptable, sent.length]).toEqual([false, 0]);
      expect(node.unexplained).toContain("more than 1000000 above term 7");
      expect(node.connect(hello({ ...held, term: 7n + termsAheadMax }), session, 0)).toBeDefined();
    });

    it("is taken for this store's when it does not say its lease, and the leader is the same", () => {
      const node = fenced(7n);
      node.want(content(1));
      node.connect(hello(older), session, 0);
      expect(sent).toHaveLength(1);
    });
  });

  it("claims the next term above what was heard, unless that is beyond all sense (F8)", () => {
    expect(nextTerm(0n, 0n)).toBe(1n);
    expect(nextTerm(5n, 3n)).toBe(6n);
    expect(nextTerm(5n, 41n)).toBe(42n);
    expect(nextTerm(5n, 5n + termsAheadMax)).toBe(6n + termsAheadMax);
    expect(nextTerm(5n, 6n + termsAheadMax)).toBe(6n);
  });

  it("keeps only the newest stream, and hears nothing from older ones", () => {
    const node = fenced(1n);
    const older = { send: () => undefined, end: () => void ended.push("older") };
    node.connect(hello(), older, 0);
    node.connect(hello(), session, 0);
    expect(ended).toEqual(["older"]);
    expect(node.disconnect(older)).toBe(false);
    node.report(older, { ...emptyStatus, retired: [ip("10.0.0.9")] }, 0);
    expect(node.facts().status.retired).toEqual([]);
    expect(node.disconnect(session)).toBe(true);
  });

  it("tells faults of the state that it was given last, not of older ones", () => {
    const node = fenced(1n);
    node.connect(hello(), session, 0);
    node.want(content(1));
    const old = lastFence();
    node.want(content(2));
    const fault = { code: "NODE_FAILED", message: "no" } as const;
    node.report(
      session,
      { ...emptyStatus, faults: [{ ...fault, fence: old }, { ...fault, fence: lastFence() }, fault] },
      0,
    );
    expect(node.facts().faults.length).toBe(2);
  });
});
