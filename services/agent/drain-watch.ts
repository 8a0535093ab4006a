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
import type { Logger } from "../../src/runtime/log.ts";
import type { FlowObserver, Listings } from "./flow-observer.ts";

export interface DrainWatchParts {
  readonly listings: Listings;
  readonly observer: FlowObserver;
  /** Resets a connection; false: it was gone already. */
  destroy(socket: TcpSocket): boolean;
  readonly log: Logger;
}

interface Drain {
  readonly generation: bigint;
  atSwitch?: number;
  cut: number;
}

export class DrainWatch {
  readonly #parts: DrainWatchParts;
  readonly #drains = new Map<IpAddress, Drain>();
  #reports: readonly DrainReport[] = [];

  constructor(parts: DrainWatchParts) {
    this.#parts = parts;
  }

  /** Counts what the state asks for. True: something differs from the last time. */
  count(state: AgentState): boolean {
    const watched = state.addresses.filter((address) => address.watchDrain || address.follows.length > 0);
    for (const address of this.#drains.keys())
      if (!watched.some((candidate) => candidate.address === address)) this.#drains.delete(address);
    const reports = watched.map((address) => this.#report(address, state));
    const same = JSON.stringify(reports, bigintText) === JSON.stringify(this.#reports, bigintText);
    this.#reports = reports;
    return !same;
  }

  reports(): readonly DrainReport[] {
    return this.#reports;
  }

  #report(address: AgentAddress, state: AgentState): DrainReport {
    const drain = this.#drainOf(address);
    const live = this.#connections(address, state);
    if (address.cut) drain.cut += this.#cut(live.sockets);
    const open = live.sockets.length + live.translated;
    if (address.egress.kind === "channel") drain.atSwitch ??= open;
    const { generation } = drain;
    const opened = this.#parts.observer.opened(address.address);
    const atSwitch = drain.atSwitch === undefined ? {} : { atSwitch: drain.atSwitch };
    return { address: address.address, generation, open, opened, cut: drain.cut, ...atSwitch };
  }

  #drainOf(address: AgentAddress): Drain {
    const known = this.#drains.get(address.address);
    if (known?.generation === address.generation) return known;
    const drain: Drain = { generation: address.generation, cut: 0 };
    this.#drains.set(address.address, drain);
    return drain;
  }

  /** What this instance itself tries to open is not a connection of the public address. */
  #connections(address: AgentAddress, state: AgentState): { sockets: TcpSocket[]; translated: number } {
    const owned = new Map([[address.private, { address: address.address, generation: address.generation }]]);
    const vantage = createVantage(owned, [...state.fabric, { address: state.probeSource, length: 32 }]);
    const sockets = this.#parts.listings.sockets(address.private).filter((socket) => {
      const change = observeSocket(socket, vantage);
      return change !== undefined && change.state !== "closed" && socket.state !== "SYN_SENT";
    });
    const translated = this.#parts.listings
      .connections(address.private)
      .filter((record) => isTranslated(record) && (observeConntrack(record, vantage)?.state ?? "closed") !== "closed");
    return { sockets, translated: translated.length };
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

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
