/** Conntrack events in the receiving worker: subscription, and packing into rows. */

import { ConntrackRowWriter } from "./conntrack-codec.ts";
import { conntrackEventFilter } from "./conntrack-filter.ts";
import type { PackedConntrackRows } from "./conntrack-row.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";
import type { EventSource } from "./worker-protocol.ts";

export interface ConntrackSourceOptions {
  /** Of the socket: what the kernel keeps while nobody reads. */
  readonly receiveBufferBytes: number;
}

/** Events wait so long for others: to wake up for each of thousands costs more than to read them. */
const gatherMs = 5;
/** NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY */
const groups = [1, 2, 3];

export function openEventSource(options: ConntrackSourceOptions): EventSource<PackedConntrackRows> {
  const socket = new NetlinkSocket(netlinkFamily.netfilter, { groups });
  try {
    socket.attachFilter(conntrackEventFilter());
    socket.setReceiveBuffer(options.receiveBufferBytes);
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
  const writer = new ConntrackRowWriter();
  return {
    socket,
    gatherMs,
    add: (datagram) => writer.addDatagram(datagram),
    take() {
      const records = writer.take();
      return { records, transfer: [records.bytes.buffer] };
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}
