/**
 * The kernel's table of connections: its events, its entries, their marks.
 *
 * A network namespace tracks nothing until some rule in it uses `ct`. The end of a TCP connection is the change of its
 * TCP state; `destroy` comes seconds to minutes later.
 */
import { readFileSync } from "node:fs";
import { ConntrackRowWriter, conntrackMessage } from "./conntrack-codec.ts";
import {
  type ConntrackFilter,
  type ConntrackKey,
  deleteRequest,
  listRequest,
  rowFilter,
  setMarkRequest,
} from "./conntrack-request.ts";
import { ConntrackRows, type PackedConntrackRows } from "./conntrack-row.ts";
import type { ConntrackSourceOptions } from "./conntrack-source.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";
import { EventWorker, siblingModule } from "./worker-stream.ts";

/** Holds some 100,000 events while the worker is kept from reading. */
export const conntrackReceiveBufferBytes = 32 * 1024 * 1024;

export interface ConntrackEventsStart {
  /** Called on the main thread with the events of some milliseconds, in order. Counts of {@link ConntrackRows.malformed} are the caller's. */
  readonly handle: (rows: ConntrackRows) => void;
  /** Events were lost after the rows handled so far: list the entries again. */
  readonly overflow: () => void;
  /** The subscription ended by itself; nothing comes after it. */
  readonly fail: (error: Error) => void;
  readonly receiveBufferBytes?: number;
}

/**
 * Events of TCP and UDP entries of the network namespace, from the return of {@link ConntrackEvents.open} on.
 *
 * With the kernel's default (net.netfilter.nf_conntrack_events=2) an entry that was made while nobody was subscribed
 * never gives an event, not even its end. List the entries after subscribing, and set it to 1 where subscribers restart.
 */
export class ConntrackEvents implements AsyncDisposable {
  readonly #worker: EventWorker;

  private constructor(worker: EventWorker) {
    this.#worker = worker;
  }

  /** @throws KernelError without CAP_NET_ADMIN, or where the kernel has no ctnetlink */
  static async open(start: ConntrackEventsStart): Promise<ConntrackEvents> {
    const options: ConntrackSourceOptions = {
      receiveBufferBytes: start.receiveBufferBytes ?? conntrackReceiveBufferBytes,
    };
    const worker = await EventWorker.open<PackedConntrackRows>({
      module: siblingModule("conntrack-source", import.meta.url),
      options,
      handle: (event) => {
        switch (event.kind) {
          case "records":
            return start.handle(new ConntrackRows(event.records));
          case "overflow":
            return start.overflow();
          case "failed":
            return start.fail(event.error);
          default:
            return event satisfies never;
        }
      },
    });
    return new ConntrackEvents(worker);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker[Symbol.asyncDispose]();
  }
}

/** For the calls below; it belongs to the network namespace of the calling thread. */
export function openConntrack(): NetlinkSocket {
  return new NetlinkSocket(netlinkFamily.netfilter);
}

/**
 * The entries now, synchronously (100,000 take about 0.2 s). No snapshot: entries that come or go meanwhile may be
 * missing. Each entry is an `update` record.
 */
export function dumpConntrack(netlink: NetlinkSocket, filter: ConntrackFilter = {}): ConntrackRows {
  const writer = new ConntrackRowWriter(rowFilter(filter));
  for (const message of netlink.stream(conntrackMessage.get, listRequest(filter), "list conntrack entries")) {
    writer.addMessage(message.type, message.flags, message.payload);
  }
  return new ConntrackRows(writer.take());
}

/** Messages of the kernel whose rows are given together: a fraction of a millisecond of work. */
const messagesPerStep = 128;

/**
 * Like {@link dumpConntrack}, in steps, between which time may pass. No other call on this socket may be made before the
 * end.
 */
export function* streamConntrack(netlink: NetlinkSocket, filter: ConntrackFilter = {}): Generator<ConntrackRows> {
  const writer = new ConntrackRowWriter(rowFilter(filter));
  let messages = 0;
  for (const message of netlink.stream(conntrackMessage.get, listRequest(filter), "list conntrack entries")) {
    writer.addMessage(message.type, message.flags, message.payload);
    messages++;
    if (messages % messagesPerStep === 0) yield new ConntrackRows(writer.take());
  }
  yield new ConntrackRows(writer.take());
}

/** `absent`: the table has no such entry (any more). */
export type ConntrackOutcome = "done" | "absent";

/** Sets the bits of `mask` in the entry's mark to those of `mark`, and leaves the others. */
export function setConntrackMark(
  netlink: NetlinkSocket,
  key: ConntrackKey,
  mark: number,
  mask: number,
): ConntrackOutcome {
  return change(netlink, conntrackMessage.new, setMarkRequest(key, mark, mask), "set the mark of a conntrack entry");
}

export function deleteConntrack(netlink: NetlinkSocket, key: ConntrackKey): ConntrackOutcome {
  return change(netlink, conntrackMessage.delete, deleteRequest(key), "delete a conntrack entry");
}

/** How full the table is. The maximum is the host's, the count this namespace's. */
export interface ConntrackUsage {
  readonly count: number;
  readonly max: number;
}

/** Undefined where the kernel has no conntrack (loaded). */
export function conntrackUsage(): ConntrackUsage | undefined {
  try {
    return { count: readNumber("nf_conntrack_count"), max: readNumber("nf_conntrack_max") };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function readNumber(name: string): number {
  return Number.parseInt(readFileSync(`/proc/sys/net/netfilter/${name}`, "utf8"), 10);
}

function change(netlink: NetlinkSocket, type: number, payload: Uint8Array, operation: string): ConntrackOutcome {
  const outcome = netlink.tryRequest(type, 0, payload, operation);
  if (outcome.ok) return "done";
  if (outcome.error.errno === "ENOENT") return "absent";
  throw outcome.error;
}
