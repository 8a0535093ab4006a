/** The coordinator's end of a node's stream, when the node does not read. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IpAddress } from "../../../src/flow/address.ts";
import { type NodeDirective, NodeServiceClient } from "../../../src/gen/baton/v1/node.ts";
import type { GatewayState } from "../../../src/node/state.ts";
import { dial } from "../../../src/rpc/client.ts";
import { helloToProto } from "../../../src/rpc/report-codec.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FakeCoordinator } from "../../support/fake-coordinator.ts";
import { before } from "../dataplane/gateway-states.ts";

const states = 200;
const signal = new AbortController().signal;
/** Some hundred kilobytes. */
const large: GatewayState = {
  ...before,
  mappings: Array.from({ length: 10_000 }, (_, index) => ({
    address: `203.0.${113 + (index >> 8)}.${index & 255}` as IpAddress,
    private: `10.77.${index >> 8}.${index & 255}` as IpAddress,
    generation: 1n,
  })),
};

describe("a node that stands still", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "baton-stream-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("is sent the newest state when it goes on, and few of those between", async () => {
    await using coordinator = await FakeCoordinator.open(`unix:${join(directory, "c1")}`);
    const client = dial(NodeServiceClient, coordinator.endpoint);
    const call = client.connect();
    call.on("error", () => undefined);
    const hello = {
      name: "gw1",
      kind: "gateway" as const,
      boot: "0123456789abcdef0123456789abcdef",
      version: "0.0.0",
      devices: [],
      privateAddresses: [],
      channels: [],
      publicMtu: 1500,
    };
    call.write({ report: { $case: "hello", value: helloToProto(hello) } });
    await coordinator.node();
    for (let generation = 1n; generation <= BigInt(states); generation++) {
      const fence = { term: 1n, leader: "c1", generation, digest: "ab".repeat(32) };
      coordinator.send({ kind: "gateway", fence, state: large });
      await new Promise(setImmediate);
    }
    const received: bigint[] = [];
    call.on("data", ({ directive }: NodeDirective) => received.push(directive?.value.fence?.generation ?? 0n));
    await waitFor(() => received.at(-1) === BigInt(states), { signal, timeoutMs: 20_000, what: "the newest state" });
    expect(received.length).toBeLessThan(states / 2);
    call.cancel();
    client.close();
  });
});
