/** SPEC R10: whatever ends in whatever order, and whoever counts it when, a report's figures add up at every moment. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DrainReport, LinkReport, NodeHello } from "../../src/node/status.ts";
import { emptyStatus } from "../../src/node/status.ts";
import { measure } from "../../src/remap/figures.ts";
import { type RemapState, takeUp } from "../../src/remap/record.ts";
import type { Context } from "../../src/remap/transition.ts";
import type { AgentFacts } from "../../src/remap/world.ts";
import { FakeCluster, publicA } from "../support/fake-cluster.ts";

const link = 5;

type Op = "close" | "supersede" | "late" | "list" | "cut" | "restart" | "hear";
const opArbitrary = fc.constantFrom<Op[]>(
  "close",
  "supersede",
  "late",
  "list",
  "cut",
  "restart",
  "hear",
  "hear",
  "list",
);

/** A source as it is, and what its agent and its kernel have counted of it. */
class Source {
  open: number;
  ended = { closed: 0, superseded: 0, cut: 0 };
  #boot = 0;
  #cut = 0;
  #listed: { open: number; atSwitch: number } | undefined;

  constructor(open: number) {
    this.open = open;
  }

  do(op: Op): void {
    switch (op) {
      case "close":
      case "supersede":
        if (this.open === 0) return;
        this.open--;
        this.ended[op === "close" ? "closed" : "superseded"]++;
        return;
      case "late":
        // A handshake that the switch caught: over in seconds, listed and told before anything ends.
        if (Object.values(this.ended).some((count) => count > 0)) return;
        this.open++;
        this.do("list");
        return;
      case "list":
        this.#listed = { open: this.open, atSwitch: this.#listed?.atSwitch ?? this.open };
        return;
      case "cut":
        this.do("list");
        this.#cut += this.open;
        this.ended.cut += this.open;
        this.open = 0;
        return;
      case "restart":
        this.#boot++;
        this.#cut = 0;
        this.#listed = undefined;
        return;
      case "hear":
        return;
      default:
        op satisfies never;
    }
  }

  facts(generation: bigint): AgentFacts {
    const drain: DrainReport | undefined = this.#listed && {
      address: publicA,
      generation,
      ...this.#listed,
      opened: 0,
      cut: this.#cut,
    };
    const counters = { followedPackets: 0n, followedBytes: 0n, returnedPackets: 0n, returnedBytes: 0n };
    const others = { unknownPackets: 0n, refusedPackets: 0n, probesSent: 0n, probesAnswered: 0n };
    const links: LinkReport[] = [{ id: link, ...counters, ...others, superseded: BigInt(this.ended.superseded) }];
    const hello = { boot: `${this.#boot}` } as NodeHello;
    const status = { ...emptyStatus, drains: drain === undefined ? [] : [drain], links };
    return { name: "vm-a", connected: true, hello, status, faults: [] };
  }
}

function sumOf({ flows }: RemapState["live"]): number {
  return flows.closed + flows.superseded + flows.cut + flows.lost + flows.remaining;
}

describe("the figures of a report", () => {
  it("add up to what was open at the switch, and say in the end how each connection ended", async () => {
    const cluster = new FakeCluster();
    cluster.connectAll();
    await cluster.settle();
    await cluster.addAddress(publicA, "vm-a");
    const { id } = await cluster.created(publicA, "vm-b");
    const stored = cluster.stored().get(id);
    const [owner] = stored?.owners ?? [];
    if (stored === undefined || owner === undefined) throw new Error("no remap");
    const record = { ...stored, owners: [{ ...owner, link }] };
    const later = { exists: false, settled: false, home: false, returning: false, holder: record.target };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), fc.array(opArbitrary, { maxLength: 60 }), (open, ops) => {
        const source = new Source(open);
        let state: RemapState = takeUp(record, false);
        const hear = () => {
          const agents = new Map([["vm-a", source.facts(record.sourceGeneration)]]);
          const view = { world: { agents, gateways: new Map() }, later } as unknown as Context["view"];
          state = measure(state, { view });
          expect(sumOf(state.live)).toBe(state.live.flows.atSwitch);
        };
        source.do("list");
        hear();
        for (const op of ops) {
          source.do(op);
          if (op === "hear" || op === "late") hear();
        }
        source.do("list");
        hear();
        expect(state.live.flows.remaining).toBe(source.open);
      }),
    );
  });
});
