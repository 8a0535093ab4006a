/** A network in one process, for tests: everything arrives at once and in order, unless it is cut. */
import type { MemberAddress } from "../member.ts";
import { noTraffic, type Transport, type TransportHandlers } from "./transport.ts";

type Lane = "udp" | "tcp";

export class MemoryNetwork {
  readonly #members = new Map<MemberAddress, TransportHandlers>();
  readonly #cuts = new Set<string>();

  /** One way. */
  cut(from: MemberAddress, to: MemberAddress, ...lanes: readonly Lane[]): void {
    for (const lane of lanes) this.#cuts.add(cutName(from, to, lane));
  }

  heal(): void {
    this.#cuts.clear();
  }

  transport(address: MemberAddress): Transport {
    const counters = noTraffic();
    const reach = (from: MemberAddress, to: MemberAddress, lane: Lane): TransportHandlers | undefined =>
      this.#cuts.has(cutName(from, to, lane)) ? undefined : this.#members.get(to);
    return {
      address,
      counters,
      start: (handlers) => {
        this.#members.set(address, handlers);
      },
      send: (to, bytes) => {
        counters.packetsSent++;
        counters.packetBytesSent += bytes.length;
        queueMicrotask(() => reach(address, to, "udp")?.packet(address, bytes));
      },
      dial: async (to, frame, _timeoutMs, answered) => {
        counters.streamsOpened++;
        await Promise.resolve();
        const reply = reach(address, to, "tcp")?.frame(address, frame);
        await Promise.resolve();
        if (reply === undefined || reach(to, address, "tcp") === undefined) throw new Error(`${to} does not answer`);
        const last = answered(reply);
        if (last !== undefined) reach(address, to, "tcp")?.frame(address, last);
      },
      [Symbol.asyncDispose]: async () => {
        this.#members.delete(address);
      },
    };
  }
}

function cutName(from: MemberAddress, to: MemberAddress, lane: Lane): string {
  return `${from} ${to} ${lane}`;
}
