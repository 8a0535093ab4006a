/**
 * Counts the connections that a source still serves, and resets them on demand.
 *
 * The truth is in the sockets: connection tracking forgets half-closed connections that live on (SPEC R8). Only where
 * this host translates addresses itself (containers), a connection has no socket here, and its tracking entry counts.
 * Listings take their time, in slices; a report tells what the last whole one has shown.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import { type AgentAddress, type AgentState, hasSwitched, type LinkId } from "../../src/node/state.ts";
import type { DrainReport } from "../../src/node/status.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { SilenceWatch } from "./silence-watch.ts";
import type { SupersededSockets } from "./superseded-sockets.ts";

export interface DrainWatchParts {
  readonly connections: OpenConnections;
  readonly superseded: SupersededSockets;
  readonly silence: Pick<SilenceWatch, "watch" | "longestMs">;
  /** Connections opened here since the address came to its generation. */
  opened(address: IpAddress): number;
  /** From now on nothing more of these connections leaves this host. Throws when the kernel refuses. */
  mute(link: LinkId, sockets: readonly TcpSocket[]): void;
  /** Resets a connection; false: it was gone already. */
  destroy(socket: TcpSocket): boolean;
  /** This kernel can do that. */
  readonly resets: boolean;
  /** A listing is whole. */
  readonly onCounted: () => void;
  /** A listing has shown no connection of the address. */
  readonly onEmpty: (address: IpAddress) => void;
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
  superseded: number;
  /** Of the last whole listing; absent: there was none yet. */
  sockets?: number;
  translated: number;
  socketsDueMs: number;
  translatedDueMs: number;
  cutting: boolean;
}

export class DrainWatch {
  readonly #parts: DrainWatchParts;
  readonly #drains = new Map<IpAddress, Drain>();
  /** Private addresses whose connections were ended already. */
  #discarded: readonly IpAddress[] = [];
  #reports: readonly DrainReport[] = [];
  #listing: Promise<void> | undefined;

  constructor(parts: DrainWatchParts) {
    this.#parts = parts;
  }

  /** Begins to count what the state asks for and is due. True: something differs from the last time. */
  count(state: AgentState): boolean {
    this.#parts.silence.watch(state);
    const watched = state.addresses.filter((address) => address.watchDrain || address.follows.length > 0);
    for (const address of this.#drains.keys())
      if (!watched.some((candidate) => candidate.address === address)) this.#drains.delete(address);
    for (const address of watched) this.#drainOf(address);
    this.#listing ??= this.#listDue(watched, state);
    const reports = watched.flatMap((address) => this.#report(address));
    const same =
      reports.length === this.#reports.length && reports.every((report, i) => isSame(report, this.#reports[i]));
    this.#reports = reports;
    return !same;
  }

  reports(): readonly DrainReport[] {
    return this.#reports;
  }

  #report(address: AgentAddress): DrainReport[] {
    const drain = this.#drainOf(address);
    if (address.watchDrain && drain.sockets === undefined) return [];
    const longestSilenceMs = this.#parts.silence.longestMs(address.address);
    const unresettable = address.cut ? drain.translated + (this.#parts.resets ? 0 : (drain.sockets ?? 0)) : 0;
    const report = {
      address: address.address,
      generation: drain.generation,
      open: (drain.sockets ?? 0) + drain.translated,
      opened: this.#parts.opened(address.address),
      cut: drain.cut,
      superseded: drain.superseded,
      unresettable,
      ...(drain.atSwitch !== undefined && { atSwitch: drain.atSwitch }),
      ...(longestSilenceMs !== undefined && { longestSilenceMs }),
    };
    return [report];
  }

  #drainOf(address: AgentAddress): Drain {
    const known = this.#drains.get(address.address);
    if (known?.generation === address.generation) return known;
    const drain = {
      generation: address.generation,
      cut: 0,
      superseded: 0,
      translated: 0,
      socketsDueMs: 0,
      translatedDueMs: 0,
      cutting: false,
    };
    this.#drains.set(address.address, drain);
    return drain;
  }

  #listDue(watched: readonly AgentAddress[], state: AgentState): Promise<void> | undefined {
    const nowMs = this.#parts.clock.monotonicMs();
    const due = watched.filter((address) => address.watchDrain && isDue(this.#drainOf(address), address, nowMs));
    const discarded = (state.discards ?? []).filter((own) => !this.#discarded.includes(own));
    this.#discarded = state.discards ?? [];
    if (due.length === 0 && discarded.length === 0) return undefined;
    const work = async () => {
      for (const address of due) await this.#list(address, state);
      for (const own of discarded) await this.#discard(own, state);
    };
    return work()
      .catch((error: unknown) => this.#parts.log.error({ error }, "connections could not be listed"))
      .finally(() => {
        this.#listing = undefined;
        this.#parts.onCounted();
      });
  }

  async #list(address: AgentAddress, state: AgentState): Promise<void> {
    const { clock, connections } = this.#parts;
    const drain = this.#drainOf(address);
    const startMs = clock.monotonicMs();
    const sockets = await connections.sockets(address, state);
    if (address.cut && this.#parts.resets) drain.cut += this.#reset(sockets);
    else if (hasSwitched(address.egress))
      drain.superseded += this.#resetSuperseded(await this.#parts.superseded.among(sockets, address), address);
    drain.cutting = address.cut;
    drain.sockets = sockets.length;
    drain.socketsDueMs = startMs + (clock.monotonicMs() - startMs) / listingShare;
    if (startMs >= drain.translatedDueMs) {
      drain.translated = await connections.translated(address, state);
      drain.translatedDueMs = startMs + Math.max(translatedIntervalMs, (clock.monotonicMs() - startMs) / listingShare);
    }
    const open = drain.sockets + drain.translated;
    if (hasSwitched(address.egress)) drain.atSwitch ??= open;
    if (open === 0) this.#parts.onEmpty(address.address);
  }

  /** Nobody can reach these any more: packets of theirs end at the gateways, which have no place for their source. */
  async #discard(own: IpAddress, state: AgentState): Promise<void> {
    const sockets = await this.#parts.connections.socketsAt(own, state);
    const ended = this.#parts.resets ? this.#reset(sockets) : 0;
    this.#parts.log.info({ private: own, ended, left: sockets.length - ended }, "connections that were let go of");
  }

  /** A source that answers by itself must keep the reset to itself: the client speaks to the holder by now. */
  #resetSuperseded(sockets: readonly TcpSocket[], { egress }: AgentAddress): number {
    if (egress.kind === "direct" && sockets.length > 0) this.#parts.mute(egress.link, sockets);
    return this.#reset(sockets);
  }

  #reset(sockets: readonly TcpSocket[]): number {
    let ended = 0;
    for (const socket of sockets) {
      try {
        if (this.#parts.destroy(socket)) ended++;
      } catch (error) {
        this.#parts.log.error({ error }, "a connection could not be reset");
      }
    }
    return ended;
  }
}

/** A cut does not wait until it would be time for a listing. */
function isDue(drain: Drain, address: AgentAddress, nowMs: number): boolean {
  return drain.sockets === undefined || nowMs >= drain.socketsDueMs || (address.cut && !drain.cutting);
}

function isSame(left: DrainReport, right: DrainReport | undefined): boolean {
  return (
    left.address === right?.address &&
    left.generation === right.generation &&
    left.open === right.open &&
    left.opened === right.opened &&
    left.atSwitch === right.atSwitch &&
    left.cut === right.cut &&
    left.superseded === right.superseded &&
    left.unresettable === right.unresettable &&
    left.longestSilenceMs === right.longestSilenceMs
  );
}
