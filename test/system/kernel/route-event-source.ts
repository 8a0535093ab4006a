/** For the receiving worker: names of the types of rtnetlink's route events. */
import { decodeMessages } from "../../../src/kernel/attributes.ts";
import { NetlinkSocket, netlinkFamily } from "../../../src/kernel/netlink.ts";
import type { EventSource } from "../../../src/kernel/worker-protocol.ts";

const ipv4RouteGroup = 7;

export interface RouteEventOptions {
  readonly receiveBufferBytes: number;
  readonly group?: number;
}

export function openEventSource(options: RouteEventOptions): EventSource<readonly string[]> {
  const socket = new NetlinkSocket(netlinkFamily.route, { groups: [options.group ?? ipv4RouteGroup] });
  socket.setReceiveBuffer(options.receiveBufferBytes);
  let types: string[] = [];
  return {
    socket,
    add(datagram) {
      for (const { type } of decodeMessages(datagram) ?? []) types.push(type === 24 ? "new" : "deleted");
    },
    take() {
      const taken = types;
      types = [];
      return { records: taken, transfer: [] };
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}
