import { pino } from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { Gateway, type GatewayParts, type OrderedGatewayState } from "../../../services/gateway/gateway.ts";
import type { WriteOutcome } from "../../../services/gateway/kernel-table.ts";
import type { GatewayTable } from "../../../src/dataplane/gateway-ruleset.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { Fence } from "../../../src/node/fence.ts";
import type { GatewayState, ProofRequest } from "../../../src/node/state.ts";
import { after, before, devices, ip, prefix, retiring } from "../dataplane/gateway-states.ts";

/** A kernel that takes every table, unless it is told not to. */
class FakeTable {
  fence: Fence | undefined;
  written: GatewayTable[] = [];
  outcome: WriteOutcome = { ok: true };
  packets: ReadonlyMap<IpAddress, bigint> | undefined = new Map();
  flushed = false;

  write(table: GatewayTable, fence: Fence | undefined): WriteOutcome {
    if (!this.outcome.ok) return this.outcome;
    this.written.push(table);
    this.fence = fence;
    this.flushed = false;
    return this.outcome;
  }

  stands(): boolean {
    return !this.flushed;
  }

  forget(): void {
    this.fence = undefined;
  }

  retiringPackets(): ReadonlyMap<IpAddress, bigint> | undefined {
    return this.packets;
  }

  get last(): GatewayTable | undefined {
    return this.written.at(-1);
  }
}

const source = ip("10.77.0.11");
let table: FakeTable;
let wanted: (readonly ProofRequest[])[];
let gateway: Gateway;

beforeEach(() => {
  table = new FakeTable();
  wanted = [];
  gateway = open();
});

function open(): Gateway {
  const prover: GatewayParts["prover"] = {
    want: (state) => wanted.push(state.proofs),
    reports: () => [],
    faults: () => [],
  };
  const log = pino({ level: "silent" });
  return new Gateway({ table, devices, publicPrefixes: [prefix("203.0.113.0/25")], prover, log });
}

function ordered(generation: bigint, state: GatewayState, change: Partial<Fence> = {}): OrderedGatewayState {
  const digest = generation.toString(16).padStart(64, "0");
  return { fence: { term: 1n, leader: "c1", generation, digest, ...change }, state };
}

describe("a gateway that starts", () => {
  test("on a fresh kernel, without a state on disk, closes the way", () => {
    gateway.start(undefined);
    expect(table.last?.rules).toContain("dropped_closed");
    expect(table.last?.rules).toContain("203.0.113.0/25");
    expect(table.last?.toPrivate.size).toBe(0);
    expect(gateway.status().applied).toBeUndefined();
    expect(gateway.notReady()).toHaveLength(1);
  });

  test("after a reboot is what it was, before anybody has told it so (F2)", () => {
    const kept = ordered(3n, before);
    gateway.start(kept);
    expect(table.last?.toPrivate.size).toBe(2);
    expect(table.last?.rules).not.toContain("dropped_closed");
    expect(gateway.status().applied).toEqual(kept.fence);
    expect(gateway.notReady()).toEqual([]);
  });

  test("after a reboot still refuses what is older than the state on disk (F1)", () => {
    gateway.start(ordered(3n, before));
    expect(gateway.apply(ordered(2n, after))).toBe(false);
    expect(gateway.apply(ordered(3n, after, { digest: "ff".repeat(32) }))).toBe(false);
    expect(gateway.apply(ordered(4n, after, { term: 0n }))).toBe(false);
    expect(table.written).toHaveLength(1);
    expect(gateway.apply(ordered(3n, before))).toBe(true);
  });

  test.each([3n, 4n])("takes up generation %i from the disk where the kernel stands at 3", (generation) => {
    table.fence = ordered(3n, before).fence;
    const kept = ordered(generation, before);
    gateway.start(kept);
    expect(table.last?.toPrivate.size).toBe(2);
    expect(gateway.status().applied).toEqual(kept.fence);
    expect(gateway.notReady()).toEqual([]);
  });

  test.each<[string, OrderedGatewayState | undefined]>([
    ["is not on disk", undefined],
    ["is newer than the one on disk", ordered(2n, after)],
  ])("touches nothing when the state in the kernel %s", (_, kept) => {
    table.fence = ordered(3n, before).fence;
    gateway.start(kept);
    expect(table.written).toEqual([]);
    expect(gateway.notReady()).toHaveLength(1);
    expect(gateway.apply(ordered(4n, after))).toBe(true);
  });
});

describe("a gateway that is given a state", () => {
  beforeEach(() => gateway.start(undefined));

  test("has it in the kernel, and proves what it asks for", () => {
    const proof: ProofRequest = { id: "r1", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 1500 };
    const state = ordered(1n, { ...before, proofs: [proof] });
    expect(gateway.apply(state)).toBe(true);
    expect(gateway.status()).toMatchObject({ applied: state.fence, faults: [] });
    expect(wanted).toEqual([[proof]]);
  });

  test("again under a newer term takes over the term", () => {
    gateway.apply(ordered(1n, before));
    const again = ordered(1n, before, { term: 2n, leader: "c2" });
    expect(gateway.apply(again)).toBe(true);
    expect(gateway.status().applied).toEqual(again.fence);
  });

  test("says what it refuses, and forgets that with the next state that it takes", () => {
    gateway.apply(ordered(5n, before));
    const writes = table.written.length;
    const stale = ordered(4n, after);
    expect(gateway.apply(stale)).toBe(false);
    expect(gateway.status().faults).toEqual([
      {
        code: "INVALID_ARGUMENT",
        message: "generation 4 is below 5, which this node has applied",
        fence: stale.fence,
      },
    ]);
    expect(table.written).toHaveLength(writes);
    gateway.apply(ordered(6n, after));
    expect(gateway.status().faults).toEqual([]);
  });

  test("refuses one whose fence the kernel can't keep", () => {
    expect(gateway.apply(ordered(1n, before, { leader: "no name" }))).toBe(false);
    expect(gateway.status().faults[0]?.message).toContain("is not a name");
  });

  test("says so when the kernel does not take it, and keeps the last one", () => {
    const first = ordered(1n, before);
    gateway.apply(first);
    table.outcome = { ok: false, message: "no room" };
    expect(gateway.apply(ordered(2n, after))).toBe(false);
    expect(gateway.status()).toMatchObject({
      applied: first.fence,
      faults: [{ code: "NODE_FAILED", message: "the kernel refused the rules: no room" }],
    });
    table.outcome = { ok: true };
    expect(gateway.apply(ordered(2n, after))).toBe(true);
  });
});

describe("a retiring translation", () => {
  beforeEach(() => {
    gateway.start(undefined);
    gateway.apply(ordered(1n, retiring));
    table.packets = new Map([[source, 5n]]);
  });

  test("goes after a second of silence, and is reported until the state no longer names it", () => {
    expect([0, 500, 999].map((ms) => gateway.retire(ms))).toEqual([false, false, false]);
    expect(table.last?.toPublic.has(source)).toBe(true);
    expect(gateway.retire(1_000)).toBe(true);
    expect(table.last?.toPublic.has(source)).toBe(false);
    expect(gateway.status()).toMatchObject({ retired: [source], applied: ordered(1n, retiring).fence });
    expect(gateway.retire(1_100)).toBe(false);
    gateway.apply(ordered(2n, { ...after, accepts: [] }));
    expect(gateway.status().retired).toEqual([]);
  });

  test("is watched from the beginning when the same address retires a second time", () => {
    gateway.retire(0);
    gateway.retire(1_000);
    gateway.apply(ordered(2n, after));
    gateway.apply(ordered(3n, retiring));
    expect([5_000, 5_500].map((ms) => gateway.retire(ms))).toEqual([false, false]);
    expect(gateway.retire(6_000)).toBe(true);
  });

  test("that is kept after all is not removed", () => {
    gateway.retire(0);
    gateway.apply(ordered(2n, after));
    expect(gateway.retire(60_000)).toBe(false);
    expect(table.last?.toPublic.get(source)).toBe("203.0.113.10");
  });

  test("is not taken for gone when somebody has removed the rules: they are written again", () => {
    table.packets = undefined;
    table.flushed = true;
    const writes = table.written.length;
    expect(gateway.retire(0)).toBe(true);
    expect(table.written).toHaveLength(writes + 1);
    expect(table.last?.toPublic.has(source)).toBe(true);
  });
});

describe("a gateway whose rules somebody has removed from the kernel (D15)", () => {
  test("is not ready until it has written them again, under the same fence", () => {
    gateway.start(undefined);
    gateway.apply(ordered(3n, before));
    const writes = table.written.length;
    expect(gateway.mend()).toBe(false);
    table.flushed = true;
    expect(gateway.notReady()).toEqual(["somebody has removed the gateway's rules from the kernel"]);
    table.outcome = { ok: false, message: "busy" };
    expect(gateway.mend()).toBe(true);
    expect(gateway.notReady()).toHaveLength(1);
    table.outcome = { ok: true };
    expect(gateway.mend()).toBe(true);
    expect(gateway.notReady()).toEqual([]);
    expect(gateway.rewritten).toBe(1);
    expect(table.written).toHaveLength(writes + 1);
    expect(gateway.status().applied).toEqual(ordered(3n, before).fence);
  });

  test("stays closed where it has had no state", () => {
    gateway.start(undefined);
    table.flushed = true;
    gateway.mend();
    expect(table.last?.rules).toContain("dropped_closed");
  });

  test("ends where it does not know what they were, for a coordinator tells a process that starts", () => {
    table.fence = ordered(3n, before).fence;
    gateway.start(undefined);
    table.flushed = true;
    expect(() => gateway.mend()).toThrow("start the gateway again");
  });
});
