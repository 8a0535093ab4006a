/**
 * What a coordinator publishes on NATS: the streams of remaps, of the audit and of the cluster's members, and who owns an
 * address in the stream of flows.
 */
import type { NatsBus } from "../../src/bus/nats.ts";
import { clusterStream } from "../../src/cluster/events.ts";
import { Outbox } from "../../src/coordinator/outbox.ts";
import type { EndedRemap, EventPort, StoredAudit } from "../../src/coordinator/ports.ts";
import { auditStreamName, RemapFeed, remapStreamName } from "../../src/coordinator/remap-feed.ts";
import { unpublishedAudits, unpublishedEnds } from "../../src/coordinator/unpublished.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import { flowSubject } from "../../src/flow/events.ts";
import { type Layout, shardsOf } from "../../src/placement/layout.ts";
import { encodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, retry } from "../../src/runtime/retry.ts";
import type { CoordinatorConfig } from "./config.ts";
import type { CoordinatorMetrics } from "./metrics.ts";

const retryInitialMs = 100;
const retryMaxMs = 2_000;
/** JetStream forgets the ids of messages after this. */
const duplicateWindowMs = 120_000;
/** Remaps and the audit are kept for ten years, as far as there is room. */
const keptMs = 315_360_000_000;
/** A process that is told to stop waits this long for its messages to be stored; the next leader publishes the others. */
const drainMs = 3_000;

export interface PublishingOptions {
  readonly config: CoordinatorConfig;
  readonly bus: NatsBus;
  /** By which the leader orders: a shard that agents tell of an address has to hear who owns it. */
  readonly layout: (address: IpAddress) => Layout;
  /** Random, this process's own. */
  readonly processId: string;
  readonly metrics: CoordinatorMetrics;
  readonly log: Logger;
}

export class Publishing {
  readonly feed: RemapFeed;
  readonly #options: PublishingOptions;
  readonly #outbox: Outbox;
  readonly #end = new AbortController();

  constructor(options: PublishingOptions) {
    const { bus, processId, metrics, log } = options;
    this.#options = options;
    this.#outbox = new Outbox({ bus, onDrop: metrics.noteDrop, log });
    this.feed = new RemapFeed(this.#outbox, processId);
  }

  get port(): EventPort {
    const { config, bus, layout, metrics } = this.#options;
    return {
      async owned(address, instance, generation, signal) {
        const body = { kind: "address-owned", address, instance, generation } as const;
        for (const shard of shardsOf(address, layout(address), config.shards)) {
          const data = encodeFlowEventBatch({ instance: "", boot: "", shard, sequence: 0n, body });
          await bus.publish(flowSubject(shard), data, { messageId: `owned ${address} ${generation} ${shard}`, signal });
        }
      },
      remapChanged: (remap, step) => {
        metrics.noteRemap(remap);
        this.feed.changed(remap, step);
      },
      audit: (audit) => this.feed.audit(audit),
      takenOver: (ended, audits, signal) => void this.#catchUp(ended, audits, signal),
    };
  }

  /** Publishes, this and what `others` have, until {@link end}. */
  async run(others: readonly { run(signal: AbortSignal): Promise<void> }[]): Promise<void> {
    const { bus, log } = this.#options;
    const { signal } = this.#end;
    try {
      for (const stream of this.#streams())
        await retry(() => bus.ensureStream(stream, signal), {
          signal,
          initialMs: retryInitialMs,
          maxMs: retryMaxMs,
          onError: (error) => log.warn({ error, stream: stream.name }, "a stream is not there yet"),
        });
      await Promise.all([this.#outbox, ...others].map((each) => each.run(signal)));
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  /** What waits is published, as far as there is time. */
  async end(): Promise<void> {
    await this.#outbox.drained(AbortSignal.timeout(drainMs));
    const { waiting } = this.#outbox;
    if (waiting > 0) this.#options.log.warn({ waiting, drainMs }, "messages are left to the next leader");
    this.#end.abort(new Error("the coordinator ends"));
  }

  async #catchUp(ended: readonly EndedRemap[], audits: readonly StoredAudit[], signal: AbortSignal): Promise<void> {
    const { bus, log } = this.#options;
    try {
      await retry(
        async () => {
          const missedEnds = await unpublishedEnds(bus, ended, signal);
          const missedAudits = await unpublishedAudits(bus, audits, signal);
          for (const { remap, step } of missedEnds) this.feed.changed(remap, step);
          for (const audit of missedAudits) this.feed.audit(audit);
          if (missedEnds.length + missedAudits.length === 0) return;
          const figures = { remaps: missedEnds.length, audits: missedAudits.length };
          log.info(figures, "publishing what an earlier leader has stored and not published");
        },
        {
          signal,
          initialMs: retryInitialMs,
          maxMs: retryMaxMs,
          onError: (error) => log.debug({ error }, "the streams can't be read yet"),
        },
      );
    } catch (error) {
      if (!isAbort(error, signal)) log.error({ error }, "what an earlier leader has not published stays so");
    }
  }

  #streams() {
    const { streamBytesMax: maxBytes, replicas } = this.#options.config.store;
    const limits = { maxAgeMs: keptMs, maxBytes, duplicateWindowMs, replicas };
    return [
      { name: remapStreamName, subjects: ["baton.remaps.*"], ...limits },
      { name: auditStreamName, subjects: ["baton.audit.*"], ...limits },
      { ...clusterStream, replicas },
    ];
  }
}
