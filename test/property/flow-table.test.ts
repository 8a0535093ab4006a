/** The flow table against a model that is too slow and too simple to be wrong. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type IpAddress, ipAddressFromBytes } from "../../src/flow/address.ts";
import { type Flow, flowKeyText, type LiveFlowState } from "../../src/flow/flow.ts";
import { FlowTable } from "../../src/flow/flow-table.ts";
import type { FlowChange } from "../../src/flow/observe.ts";
import { reconciled } from "../support/reconciled.ts";

const owner = "vm-a";
const addresses = ["203.0.113.10", "2001:db8:f::10"] as IpAddress[];

/** Few values of each, so that changes meet. */
const change: fc.Arbitrary<FlowChange> = fc.record({
  key: fc.record({
    address: fc.constantFrom(...addresses),
    protocol: fc.constantFrom("tcp" as const, "udp" as const),
    peer: fc.constantFrom("198.51.100.2" as IpAddress, ipAddressFromBytes(new Uint8Array(16).fill(0x20))),
    peerPort: fc.constantFrom(1, 65_535),
    port: fc.constantFrom(0, 443),
  }),
  state: fc.constantFrom("half-open", "open", "closing", "closed"),
  generation: fc.bigInt({ min: 1n, max: 3n }),
  forgotten: fc.boolean(),
});

type Step =
  | { readonly kind: "apply"; readonly change: FlowChange }
  | { readonly kind: "reconcile"; readonly address: IpAddress; readonly listing: FlowChange[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("apply" as const), change }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reconcile" as const),
      address: fc.constantFrom(...addresses),
      listing: fc.array(change, { maxLength: 12 }),
    }),
  },
);

/** A list of flows, searched from its start. */
class Model {
  flows: Flow[] = [];

  apply({ key, state, generation }: FlowChange, capacity: number, nowMs: number): "event" | "unchanged" | "full" {
    const known = this.flows.find((flow) => flowKeyText(flow.key) === flowKeyText(key));
    if (known?.state === state || (known === undefined && state === "closed")) return "unchanged";
    if (known === undefined && this.flows.length >= capacity) return "full";
    this.flows = this.flows.filter((flow) => flow !== known);
    if (state === "closed") return "event";
    const fresh = { key, owner, state, openedAtMs: nowMs, generation };
    this.flows.push(known === undefined || state === "half-open" ? fresh : { ...known, state });
    return "event";
  }
}

const sorted = (flows: Iterable<Flow>) =>
  [...flows].sort((a, b) => flowKeyText(a.key).localeCompare(flowKeyText(b.key)));

const contentOf = (table: FlowTable) => addresses.flatMap((address) => sorted(table.flowsOf(address)));

/** What a reader of the events alone believes. */
function follow(believed: Map<string, Flow>, flow: Flow): void {
  if (flow.state === "closed") expect(believed.delete(flowKeyText(flow.key))).toBe(true);
  else believed.set(flowKeyText(flow.key), flow);
}

describe("the flow table, whatever happens", () => {
  it("agrees with the model, stays within its capacity, and its events alone rebuild it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (steps, capacity) => {
        const table = new FlowTable(owner, capacity);
        const model = new Model();
        const believed = new Map<string, Flow>();
        steps.forEach((one, nowMs) => {
          if (one.kind === "apply") {
            const applied = table.apply(one.change, nowMs);
            expect(applied.kind).toBe(model.apply(one.change, capacity, nowMs));
            if (applied.kind === "event") follow(believed, applied.flow);
          } else {
            for (const flow of reconciled(table, one.address, one.listing, nowMs).events) follow(believed, flow);
            model.flows = addresses.flatMap((address) => [...table.flowsOf(address)]);
          }
          expect(contentOf(table)).toEqual(
            addresses.flatMap((a) => sorted(model.flows.filter((f) => f.key.address === a))),
          );
          expect(sorted(believed.values())).toEqual(sorted(model.flows));
          expect(table.size).toBe(model.flows.length);
          expect(table.size).toBeLessThanOrEqual(capacity);
        });
      }),
    );
  });

  it("shows after a reconciliation exactly the live flows of the listing, and of the other addresses what it had", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.array(change, { maxLength: 30 }), (before, listing) => {
        const table = new FlowTable(owner);
        for (const one of before) table.apply(one, 0);
        const [address, untouched] = addresses as [IpAddress, IpAddress];
        const kept = sorted(table.flowsOf(untouched));
        const wanted = new Map<string, LiveFlowState>();
        for (const { key, state } of listing) {
          if (key.address !== address) continue;
          if (state === "closed") wanted.delete(flowKeyText(key));
          else wanted.set(flowKeyText(key), state);
        }
        reconciled(table, address, listing, 1);
        expect(new Map([...table.flowsOf(address)].map((flow) => [flowKeyText(flow.key), flow.state]))).toEqual(wanted);
        expect(sorted(table.flowsOf(untouched))).toEqual(kept);
      }),
    );
  });
});
