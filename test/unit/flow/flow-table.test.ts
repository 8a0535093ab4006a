import { describe, expect, it } from "vitest";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { FlowState } from "../../../src/flow/flow.ts";
import { FlowTable } from "../../../src/flow/flow-table.ts";
import { isSameDigest } from "../../../src/flow/key-digest.ts";
import type { FlowChange } from "../../../src/flow/observe.ts";
import { reconciled } from "../../support/reconciled.ts";

const address = "203.0.113.10" as IpAddress;
const other = "203.0.113.11" as IpAddress;

function change(
  peerPort: number,
  state: FlowState,
  more: { address?: IpAddress; generation?: bigint } = {},
): FlowChange {
  const key = {
    address: more.address ?? address,
    protocol: "tcp",
    peer: "198.51.100.2" as IpAddress,
    peerPort,
    port: 443,
  } as const;
  return { key, state, generation: more.generation ?? 1n, forgotten: false };
}

describe("FlowTable", () => {
  it("tells of each step of a flow once, with the time and generation of its opening", () => {
    const table = new FlowTable("vm-a");
    const steps = [
      table.apply(change(1, "half-open"), 100),
      table.apply(change(1, "half-open"), 101),
      table.apply(change(1, "open", { generation: 2n }), 102),
      table.apply(change(1, "closing"), 103),
      table.apply(change(1, "closed"), 104),
      table.apply(change(1, "closed"), 105),
    ];
    const told = steps.map((step) => (step.kind === "event" ? step.flow.state : step.kind));
    expect(told).toEqual(["half-open", "unchanged", "open", "closing", "closed", "unchanged"]);
    expect(
      steps.flatMap((step) => (step.kind === "event" ? [[step.flow.openedAtMs, step.flow.generation]] : [])),
    ).toEqual(Array(4).fill([100, 1n]));
    expect([table.size, table.countOf(address), table.addresses()]).toEqual([0, 0, []]);
  });

  it("gives the whole flow in an event", () => {
    expect(new FlowTable("vm-a").apply(change(1, "open"), 100)).toEqual({
      kind: "event",
      flow: { key: change(1, "open").key, owner: "vm-a", state: "open", openedAtMs: 100, generation: 1n },
    });
  });

  it.each<[string, FlowState[]]>([
    ["after its close", ["open", "closed"]],
    ["though its close was not seen", ["open", "closing"]],
  ])("takes a handshake on a used tuple as a new flow, %s", (_when, before) => {
    const table = new FlowTable("vm-a");
    for (const state of before) table.apply(change(1, state), 100);
    const reopened = table.apply(change(1, "half-open", { generation: 2n }), 200);
    expect(reopened).toMatchObject({ kind: "event", flow: { state: "half-open", openedAtMs: 200, generation: 2n } });
    expect(table.size).toBe(1);
  });

  it("says so when it is full, and takes flows again when one has ended", () => {
    const table = new FlowTable("vm-a", 2);
    table.apply(change(1, "open"), 0);
    table.apply(change(2, "open"), 0);
    expect(table.apply(change(3, "open"), 0).kind).toBe("full");
    expect(table.apply(change(1, "closing"), 0).kind).toBe("event");
    table.apply(change(2, "closed"), 0);
    expect(table.apply(change(3, "open"), 0).kind).toBe("event");
    expect(table.size).toBe(2);
  });

  it("counts and iterates the flows of one address alone", () => {
    const table = new FlowTable("vm-a");
    table.apply(change(1, "open"), 10);
    table.apply(change(2, "closing"), 20);
    table.apply(change(1, "open", { address: other }), 30);
    expect([table.size, table.countOf(address), table.countOf(other)]).toEqual([3, 2, 1]);
    const flows = [...table.flowsOf(address)];
    expect(flows.toSorted((one, other) => one.key.peerPort - other.key.peerPort)).toEqual([
      { key: change(1, "open").key, owner: "vm-a", state: "open", openedAtMs: 10, generation: 1n },
      { key: change(2, "open").key, owner: "vm-a", state: "closing", openedAtMs: 20, generation: 1n },
    ]);
  });

  it("becomes what a listing shows: ends what is missing, adds what is new, keeps what agrees", () => {
    const table = new FlowTable("vm-a");
    for (const peerPort of [1, 2, 3]) table.apply(change(peerPort, "open"), 10);
    table.apply(change(9, "open", { address: other }), 10);
    const listing = [change(2, "closing"), change(3, "open"), change(4, "open"), change(5, "closed")];
    const { events, refused } = reconciled(table, address, listing, 50);
    expect(events.map((flow) => `${flow.key.peerPort} ${flow.state} ${flow.openedAtMs}`)).toEqual([
      "1 closed 10",
      "2 closing 10",
      "4 open 50",
    ]);
    expect(refused).toBe(0);
    expect(table.countOf(other)).toBe(1);
    expect(reconciled(table, address, listing, 60).events).toEqual([]);
  });

  it("leaves alone what a change has spoken of while the listing was taken (E12)", () => {
    const table = new FlowTable("vm-a");
    for (const peerPort of [1, 2, 3]) table.apply(change(peerPort, "open"), 10);
    using reconciliation = table.reconcile(address);
    for (const peerPort of [1, 2]) reconciliation.note(change(peerPort, "open"));
    table.apply(change(2, "closed"), 20);
    table.apply(change(4, "half-open"), 20);
    const steps = reconciliation.finish(30);
    let step = steps.next();
    while (step.done === false && step.value.kind === "unchanged") step = steps.next();
    expect(step.value).toMatchObject({ flow: { state: "closed", key: { peerPort: 3 } } });
    table.apply(change(5, "open"), 30);
    expect([...steps].filter(({ kind }) => kind !== "unchanged")).toEqual([]);
    expect([...table.flowsOf(address)].map((flow) => `${flow.key.peerPort} ${flow.state}`).sort()).toEqual([
      "1 open",
      "4 half-open",
      "5 open",
    ]);
  });

  it("gives the same digest for the same flows, whatever became of others in between", () => {
    const [one, two] = [new FlowTable("vm-a"), new FlowTable("vm-a")];
    for (const peerPort of [1, 2, 3]) one.apply(change(peerPort, "open"), 0);
    for (const peerPort of [3, 9, 2, 1]) two.apply(change(peerPort, "half-open"), 5);
    expect(isSameDigest(one.digestOf(address), two.digestOf(address))).toBe(false);
    two.apply(change(9, "closed"), 6);
    expect(isSameDigest(one.digestOf(address), two.digestOf(address))).toBe(true);
    expect(one.digestOf(other)).toMatchObject({ flows: 0, keyXor: 0n });
  });

  it("counts the listed flows that it has no room for, and makes room by the closes first", () => {
    const table = new FlowTable("vm-a", 2);
    table.apply(change(1, "open"), 0);
    table.apply(change(2, "open"), 0);
    const { events, refused } = reconciled(
      table,
      address,
      [change(3, "open"), change(4, "open"), change(5, "open")],
      1,
    );
    expect(events.map((flow) => flow.state)).toEqual(["closed", "closed", "open", "open"]);
    expect(refused).toBe(1);
  });
});
