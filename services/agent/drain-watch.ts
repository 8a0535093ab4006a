/**
 * Counts the connections that a source still serves, and resets them on demand.
 *
 * The truth is in the sockets: connection tracking forgets half-closed connections that live on. Only where this host
 * translates addresses itself (containers), a connection has no socket here, and its tracking entry counts.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import { createVantage, isTranslated, observeConntrack, observeSocket } from "../../src/flow/observe.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { AgentAddress, AgentState } from "../../src/node/state.ts";
import type { DrainReport } from "../../src/node/status.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import type { FlowObserver, Listings } from "./flow-observer.ts";

export interface DrainWatchParts {
  readonly listings: Listings;
  readonly observer: FlowObserver;
  /** Resets a connection; false: it was gone already. */
  destroy(socket: TcpSocket): boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Listing is to take at most this part of the time. */
const listingShare = 0.05;
/** The whole connection table has to be read for translated connections, so they are counted less often. */
const translatedIntervalMs = 2_000;

interface Drain {
  readonly generation: bigint;
  atSwitch?: number;
  cut: number;
  sockets: number;
  translated: number;
  socketsDueMs: number;
  translatedDueMs: number;
}

export class DrainWatch {
  readonly #parts: DrainWatchParts;
  readonly #drains = new Map<IpAddress, Drain>();
  #reports: readonly DrainReport[] = [];

  constructor(parts: DrainWatchParts) {
    this.#parts = parts;
  }

  /** Counts what the state asks for and is due. True: something differs from the last time. */
  count(state: AgentState): boolean {
    const watched = state.addresses.filter((address) => address.watchDrain || address.follows.length > 0);
    for (const address of this.#drains.keys())
      if (!watched.some((candidate) => candidate.address === address)) this.#drains.delete(address);
    const reports = watched.map((address) => this.#report(address, state));
    const same =
      reports.length === this.#reports.length && reports.every((report, i) => isSame(report, this.#reports[i]));
    this.#reports = reports;
    return !same;
  }

  reports(): readonly DrainReport[] {
    return this.#reports;
  }

  #report(address: AgentAddress, state: AgentState): DrainReport {
    const drain = this.#drainOf(address);
    if (address.watchDrain) this.#list(address, state, drain);
    const open = drain.sockets + drain.translated;
    if (address.watchDrain && address.egress.kind === "channel") drain.atSwitch ??= open;
    const opened = this.#parts.observer.opened(address.address);
    const report = { address: address.address, generation: drain.generation, open, opened, cut: drain.cut };
    return drain.atSwitch === undefined ? report : { ...report, atSwitch: drain.atSwitch };
  }

  #drainOf(address: AgentAddress): Drain {
    const known = this.#drains.get(address.address);
    if (known?.generation === address.generation) return known;
    const { generation } = address;
    const drain = { generation, cut: 0, sockets: 0, translated: 0, socketsDueMs: 0, translatedDueMs: 0 };
    this.#drains.set(address.address, drain);
    return drain;
  }

  #list(address: AgentAddress, state: AgentState, drain: Drain): void {
    const { clock } = this.#parts;
    const startMs = clock.monotonicMs();
    if (startMs < drain.socketsDueMs && drain.atSwitch !== undefined) return;
    const owned = new Map([[address.private, { address: address.address, generation: address.generation }]]);
    const vantage = createVantage(owned, [...state.fabric, { address: state.probeSource, length: 32 }]);
    // What this instance itself is only trying to open is not a connection of the public address.
    const sockets = this.#parts.listings.sockets(address.private).filter((socket) => {
      const change = observeSocket(socket, vantage);
      return change !== undefined && change.state !== "closed" && socket.state !== "SYN_SENT";
    });
    if (address.cut) drain.cut += this.#cut(sockets);
    drain.sockets = sockets.length;
    drain.socketsDueMs = startMs + (clock.monotonicMs() - startMs) / listingShare;
    if (startMs < drain.translatedDueMs) return;
    const records = this.#parts.listings.connections(address.private);
    const isLive = (record: (typeof records)[number]) =>
      isTranslated(record) && (observeConntrack(record, vantage)?.state ?? "closed") !== "closed";
    drain.translated = records.filter(isLive).length;
    drain.translatedDueMs = startMs + Math.max(translatedIntervalMs, (clock.monotonicMs() - startMs) / listingShare);
  }

  #cut(sockets: readonly TcpSocket[]): number {
    let cut = 0;
    for (const socket of sockets) {
      try {
        if (this.#parts.destroy(socket)) cut++;
      } catch (error) {
        this.#parts.log.error({ error }, "a connection could not be reset");
      }
    }
    return cut;
  }
}

function isSame(left: DrainReport, right: DrainReport | undefined): boolean {
  return (
    left.address === right?.address &&
    left.generation === right.generation &&
    left.open === right.open &&
    left.opened === right.opened &&
    left.atSwitch === right.atSwitch &&
    left.cut === right.cut
  );
}
