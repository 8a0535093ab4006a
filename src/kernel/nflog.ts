/**
 * Subscription to the packets that nftables logs to groups, received in a worker thread.
 *
 * Owns the count of what was lost on the way: the kernel numbers the packets of a group. Several subscriptions in one
 * process are fine, each to groups of its own; a group has one subscriber in a network namespace.
 */
import type { LoggedPacket, NflogOptions } from "./nflog-source.ts";
import { EventWorker, siblingModule } from "./worker-stream.ts";

export interface NflogStart extends Partial<NflogOptions> {
  readonly groups: readonly number[];
  /** Called on the main thread with a few packets at a time. */
  readonly handle: (packets: readonly LoggedPacket[]) => void;
  /** The subscription ended by itself; nothing comes after it. */
  readonly fail: (error: Error) => void;
}

/** Enough for the headers that say whose packet it is. */
const defaultSnapBytes = 128;
const defaultGatherPackets = 32;
const defaultGatherMs = 10;
const defaultReceiveBufferBytes = 4 * 1024 * 1024;

export class NflogSubscription implements AsyncDisposable {
  readonly #nextSequence = new Map<number, number>();
  #worker: EventWorker | undefined;
  #lost = 0;

  private constructor() {}

  /** Returns when the groups are bound. @throws KernelError, EBUSY where another process has the group */
  static async open(start: NflogStart): Promise<NflogSubscription> {
    const self = new NflogSubscription();
    const options: NflogOptions = {
      groups: start.groups,
      snapBytes: start.snapBytes ?? defaultSnapBytes,
      gatherPackets: start.gatherPackets ?? defaultGatherPackets,
      gatherMs: start.gatherMs ?? defaultGatherMs,
      receiveBufferBytes: start.receiveBufferBytes ?? defaultReceiveBufferBytes,
    };
    self.#worker = await EventWorker.open<readonly LoggedPacket[]>({
      module: siblingModule("nflog-source", import.meta.url),
      options,
      handle: (event) => {
        if (event.kind === "failed") return start.fail(event.error);
        if (event.kind === "overflow") return;
        for (const packet of event.records) self.#count(packet);
        if (event.records.length > 0) start.handle(event.records);
      },
    });
    return self;
  }

  /** Packets that the kernel could not deliver since the start, as far as later ones have shown it. */
  get lost(): number {
    return this.#lost;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.[Symbol.asyncDispose]();
  }

  #count(packet: LoggedPacket): void {
    const expected = this.#nextSequence.get(packet.group) ?? 0;
    this.#lost += (packet.sequence - expected) >>> 0;
    this.#nextSequence.set(packet.group, (packet.sequence + 1) >>> 0);
  }
}
