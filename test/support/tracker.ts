/** Parts of trackers for tests: a memory bus with the stream of flow events, quiet logs, temporary databases. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus, StreamConfig } from "../../src/bus/bus.ts";
import { MemoryBus } from "../../src/bus/memory.ts";
import { type FlowEvent, flowStreamName, flowSubject, flowSubjects } from "../../src/flow/events.ts";
import { encodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { createLog } from "../../src/runtime/log.ts";
import { FlowStore } from "../../src/tracker/level.ts";

export const flowStream: StreamConfig = {
  name: flowStreamName,
  subjects: [flowSubjects],
  maxAgeMs: 3_600_000,
  maxBytes: 100_000_000,
  duplicateWindowMs: 60_000,
  replicas: 1,
};

export async function memoryBus(signal: AbortSignal, nowMs?: () => number): Promise<MemoryBus> {
  const bus = new MemoryBus(nowMs);
  await bus.ensureStream(flowStream, signal);
  return bus;
}

export const quietLog: Logger = createLog({ service: "test", name: "test", level: "error" });
quietLog.level = "silent";

export interface TestDirectory extends AsyncDisposable {
  readonly path: string;
}

export async function temporaryDirectory(): Promise<TestDirectory> {
  const path = await mkdtemp(join(tmpdir(), "baton-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function openStore(directory: TestDirectory): Promise<FlowStore> {
  return await FlowStore.open(join(directory.path, "flows"));
}

/** Speaks for one boot of an instance, in one shard. */
export class Speaker {
  readonly #bus: Bus;
  readonly #instance: string;
  readonly #shard: number;
  readonly #signal: AbortSignal;
  readonly #boot: string;
  #sequence = 0n;

  constructor(bus: Bus, signal: AbortSignal, { instance = "vm-a", shard = 0, boot = "b" } = {}) {
    this.#bus = bus;
    this.#signal = signal;
    this.#instance = instance;
    this.#shard = shard;
    this.#boot = boot.repeat(32);
  }

  /** Returns the message's sequence in the stream. */
  async say(body: FlowEvent): Promise<bigint> {
    this.#sequence += 1n;
    const batch = { instance: this.#instance, boot: this.#boot, shard: this.#shard, sequence: this.#sequence, body };
    const messageId = `${this.#instance} ${this.#boot} ${this.#shard} ${this.#sequence}`;
    return await this.#bus.publish(flowSubject(this.#shard), encodeFlowEventBatch(batch), {
      messageId,
      signal: this.#signal,
    });
  }

  lose(): void {
    this.#sequence += 1n;
  }
}
