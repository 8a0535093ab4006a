/** A tracker with very many flows of one address, for those who load them. */
import { join } from "node:path";
import { assignShards } from "../../../src/placement/assignment.ts";
import { serveGrpc } from "../../../src/rpc/server.ts";
import { TrackerPeers } from "../../../src/rpc/tracker-peers.ts";
import { trackerService } from "../../../src/rpc/tracker-server.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FlowStore } from "../../../src/tracker/level.ts";
import { Tracker } from "../../../src/tracker/tracker.ts";
import { ip, keyOf, rowOf } from "../../support/flows.ts";
import { LoopHolds } from "../../support/loop-holds.ts";
import { memoryBus, quietLog, Speaker } from "../../support/tracker.ts";
import { serveCalls } from "./actor.ts";

const rowsPerMessage = 2_000;
const portsPerPeer = 50_000;
const { signal } = new AbortController();

let holds = new LoopHolds();

const calls = {
  async open(directory: string, flows: number): Promise<string> {
    const endpoint = `unix:${join(directory, "tracker")}`;
    const bus = await memoryBus(signal);
    const store = await FlowStore.open(join(directory, "flows"));
    const parts = { bus, store, clock: systemClock, log: quietLog, rebuildSettleMs: 0, onBatch: () => {} };
    const peers = new TrackerPeers();
    const tracker = new Tracker({ name: "t1", endpoint, shards: 1, peers, ...parts });
    tracker.adopt(assignShards(1n, 1, [{ name: "t1", endpoint }]));
    const onBug = (error: unknown): void => console.error(error);
    await serveGrpc({
      endpoints: [endpoint],
      services: [trackerService({ tracker, store, onBug, onLookup() {} })],
      signal,
    });
    await tracker.load();
    void tracker.run(signal);
    const speaker = new Speaker(bus, signal);
    const row = (n: number) => {
      const peer = ip(`198.51.100.${2 + Math.floor(n / portsPerPeer)}`);
      return rowOf(n, "open", { key: { ...keyOf(1_024 + (n % portsPerPeer)), peer } });
    };
    for (let told = 0; told < flows; told += rowsPerMessage) {
      const rows = Array.from({ length: Math.min(rowsPerMessage, flows - told) }, (_, n) => row(told + n));
      await speaker.say({ kind: "changes", rows, coalesced: [] });
    }
    const known = () => tracker.status().reduce((sum, status) => sum + status.flows, 0);
    await waitFor(() => known() === flows, { signal, timeoutMs: 60_000, what: "the tracker to know all flows" });
    return endpoint;
  },
  /** From now on. */
  watchLoop(): void {
    holds[Symbol.dispose]();
    holds = new LoopHolds();
  },
  heldMs: () => holds.longestMs,
};

export type FullTrackerCalls = typeof calls;

serveCalls(calls);
