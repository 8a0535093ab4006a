import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { GatewayState } from "../../../src/node/state.ts";
import { emptyStatus, type NodeHello } from "../../../src/node/status.ts";
import { type DesiredStateOf, desiredStateCodec } from "../../../src/rpc/desired-state.ts";
import { NodeClient, type NodeClientEvent } from "../../../src/rpc/node-client.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FakeCoordinator } from "../../support/fake-coordinator.ts";
import { after, before } from "../dataplane/gateway-states.ts";

const hello: NodeHello = {
  name: "gw1",
  kind: "gateway",
  boot: "0123456789abcdef0123456789abcdef",
  version: "0.0.0",
  devices: [],
  privateAddresses: [],
  channels: [],
  publicMtu: 1500,
};

let directory: string;
let end: AbortController;
const events: NodeClientEvent[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-node-"));
  end = new AbortController();
  events.length = 0;
});
afterEach(() => {
  end.abort();
  rmSync(directory, { recursive: true });
});

function endpoint(name: string): string {
  return `unix:${join(directory, name)}`;
}

function connect(...endpoints: readonly string[]): NodeClient<"gateway"> {
  return new NodeClient({
    endpoints,
    codec: desiredStateCodec("gateway"),
    hello: () => hello,
    onEvent: (event) => events.push(event),
    random: () => 0,
  });
}

function desired(generation: bigint, state: GatewayState = before): DesiredStateOf<"gateway"> {
  return { kind: "gateway", fence: { term: 1n, leader: "c1", generation, digest: "ab".repeat(32) }, state };
}

async function next(client: NodeClient<"gateway">): Promise<DesiredStateOf<"gateway">> {
  for await (const state of client.states(end.signal)) return state;
  throw new Error("no state came");
}

async function until(what: string, holds: () => boolean): Promise<void> {
  await waitFor(holds, { signal: end.signal, timeoutMs: 5_000, what });
}

describe("a node's stream", () => {
  test("begins with the hello and the whole status", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    await using client = connect(coordinator.endpoint);
    client.report({ ...emptyStatus, retired: [] });
    expect(await coordinator.node()).toEqual(hello);
    await coordinator.status("the first status", () => true);
    await until("the welcome", () => client.endpoint === coordinator.endpoint);
  });

  test("delivers a state as it was sent", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    await using client = connect(coordinator.endpoint);
    await coordinator.node();
    coordinator.send(desired(1n, after));
    expect(await next(client)).toEqual(desired(1n, after));
  });

  test("hands out only the newest of the states that wait", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    await using client = connect(coordinator.endpoint);
    await coordinator.node();
    coordinator.send(desired(1n));
    const seen: bigint[] = [];
    for await (const state of client.states(end.signal)) {
      seen.push(state.fence.generation);
      if (seen.length === 2) break;
      for (const generation of [2n, 3n, 4n]) coordinator.send(desired(generation));
      // A stream's end comes behind all its states.
      coordinator.drop({ code: "NOT_LEADER", message: "elsewhere" });
      await until("the end of the stream", () => events.some((event) => event.kind === "not-leader"));
    }
    expect(seen).toEqual([1n, 4n]);
  });

  test("sends one status for a burst within one turn, the last", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    await using client = connect(coordinator.endpoint);
    client.report(emptyStatus);
    await coordinator.status("the first status", () => true);
    for (let count = 1; count <= 5; count++)
      client.report({ ...emptyStatus, proofs: [{ id: `p${count}`, sender: "gw1", mtu: 1500 }] });
    await coordinator.status("the last of the burst", (status) => status.proofs[0]?.id === "p5");
    expect(coordinator.statuses).toHaveLength(2);
  });

  test("comes back by itself and says again what the node is", async () => {
    const status = { ...emptyStatus, applied: desired(7n).fence };
    await using client = connect(endpoint("c1"));
    client.report(status);
    {
      await using first = await FakeCoordinator.open(endpoint("c1"));
      await first.status("a status", (seen) => seen.applied?.generation === 7n);
    }
    await using second = await FakeCoordinator.open(endpoint("c1"));
    await second.status("the same status", (seen) => seen.applied?.generation === 7n);
    expect(second.hellos).toEqual([hello]);
    expect(events.some((event) => event.kind === "lost")).toBe(true);
  });

  test("goes to the leader that a follower names, which need not be configured", async () => {
    await using follower = await FakeCoordinator.open(endpoint("follower"));
    await using leader = await FakeCoordinator.open(endpoint("leader"));
    follower.refusal = { code: "NOT_LEADER", message: "ask the leader", details: { leader: leader.endpoint } };
    await using client = connect(follower.endpoint);
    await leader.node();
    await until("the welcome", () => client.endpoint === leader.endpoint);
    expect(follower.hellos).toHaveLength(1);
  });

  test("passes over a coordinator that nobody answers at", async () => {
    await using alive = await FakeCoordinator.open(endpoint("alive"));
    await using client = connect(endpoint("dead"), alive.endpoint);
    await alive.node();
    await until("the welcome", () => client.endpoint === alive.endpoint);
  });

  test("answers a state for another kind of node with a fault, until a right one comes", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    await using client = connect(coordinator.endpoint);
    client.report(emptyStatus);
    await coordinator.node();
    const { fence } = desired(5n);
    const agentState = { fabric: [], probeSource: before.probeSource, addresses: [], links: [], marks: [] };
    coordinator.send({ kind: "agent", fence, state: agentState });
    const faulty = await coordinator.status("a fault", (status) => status.faults.length > 0);
    expect(faulty.faults).toEqual([
      {
        code: "INVALID_ARGUMENT",
        message: "the state can't be read: state: expected that of a node of kind gateway, found one for agent",
        fence,
      },
    ]);
    coordinator.send(desired(6n));
    expect((await next(client)).fence.generation).toBe(6n);
    await until("a status without the fault", () => coordinator.last?.faults.length === 0);
  });

  test("ends when it is disposed of, and the coordinator sees it go", async () => {
    await using coordinator = await FakeCoordinator.open(endpoint("c1"));
    {
      await using _client = connect(coordinator.endpoint);
      await coordinator.node();
    }
    await until("the end of the stream", () => !coordinator.connected);
  });
});
