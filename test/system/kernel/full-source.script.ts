/**
 * S's agent as far as it publishes its flows, and its host's sockets: as a server's end, or as a client's.
 */

import { randomBytes } from "node:crypto";
import { FlowObserver } from "../../../services/agent/flow-observer.ts";
import { HostListings } from "../../../services/agent/host-listings.ts";
import { FlowPublisher } from "../../../src/bus/flow-publisher.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import { flowStreamName, flowSubject } from "../../../src/flow/events.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { decodeFlowEventBatch } from "../../../src/rpc/flow-event-codec.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { accept, connect, endpoint, listen } from "../../support/blocking-sockets.ts";
import { LoopHolds, ownTimeMs } from "../../support/loop-holds.ts";
import { memoryBus, quietLog } from "../../support/tracker.ts";
import { agentState, ip, plain } from "../../unit/dataplane/agent-states.ts";
import { serveCalls } from "./actor.ts";

const publicAddress = ip("203.0.113.10");
const shards = 32;
const shard = shardOf(publicAddress, shards);
const { signal } = new AbortController();

export interface Published {
  /** Without the time in which others had the processors. */
  readonly tookMs: number;
  readonly heldMs: number;
  readonly flows: number;
  /** That a tracker has who applied what was published. */
  readonly known: number;
}

const listeners: number[] = [];

const calls = {
  listen(address: string, port: number): number {
    return listeners.push(listen(endpoint(address, port))) - 1;
  },
  /** Keeps them open. */
  accept(listener: number, count: number): void {
    for (let n = 0; n < count; n++)
      if (accept(listeners[listener] ?? -1) === undefined) throw new Error(`no connection after ${n}`);
  },
  connect(address: string, port: number, count: number): void {
    const to = endpoint(address, port);
    for (let n = 0; n < count; n++) if (connect(to) === undefined) throw new Error(`no connection after ${n}`);
  },
  /** Lists this host's connections and publishes them whole, as before a remap or, unknown yet, at the agent's start. */
  async publish(own: IpAddress, wasKnown: boolean): Promise<Published> {
    await using bus = await memoryBus(signal);
    using listings = new HostListings((error) => {
      throw error;
    });
    const layouts = new Layouts(shards);
    await using publisher = new FlowPublisher({
      bus,
      instance: "vm-a",
      shards,
      layouts,
      boot: randomBytes(16),
      onSnapshotNeeded: () => undefined,
      onError: () => undefined,
    });
    const parts = { instance: "vm-a", shards, layouts, listings, sink: publisher, clock: systemClock, log: quietLog };
    const observer = new FlowObserver(parts);
    const state = agentState([{ ...plain, private: own }], []);
    if (wasKnown) {
      observer.watch(state);
      await observer.mark({ id: "known", address: publicAddress, snapshot: false });
    }
    using holds = new LoopHolds();
    const startMs = ownTimeMs();
    observer.watch(state);
    const { flows, positions } = await observer.mark({ id: "m", address: publicAddress, snapshot: true });
    const took = { tookMs: ownTimeMs() - startMs, heldMs: holds.longestMs, flows };
    const table = new ShardTable();
    const last = positions[0]?.sequence ?? 0n;
    const wanted = { stream: flowStreamName, subject: flowSubject(shard), from: 1n, signal, batchMax: 1_000 };
    for await (const messages of bus.consume(wanted)) {
      for (const { sequence, data } of messages) {
        const batch = decodeFlowEventBatch(data);
        if (batch.ok) table.apply(sequence, batch.value);
      }
      if (table.sequence >= last) break;
    }
    return { ...took, known: table.size };
  },
};

export type FullSourceCalls = typeof calls;

serveCalls(calls);
