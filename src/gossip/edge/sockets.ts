/** UDP and TCP at one port: the real {@link Transport}. */
import { formatMemberAddress } from "../address.ts";
import type { MemberAddress } from "../member.ts";
import { TcpEdge } from "./tcp.ts";
import { noTraffic, type Transport, type TransportHandlers } from "./transport.ts";
import { UdpEdge } from "./udp.ts";

/** A free UDP port whose TCP port is taken is not what we want. */
const portTries = 10;

export interface SocketOptions {
  readonly host: string;
  /** 0: one that is free for both. */
  readonly port: number;
}

/** Rejects when the port can't be had. */
export async function openSockets({ host, port }: SocketOptions): Promise<Transport> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await openBoth(host, port);
    } catch (error) {
      if (port !== 0 || attempt === portTries) throw error;
    }
  }
}

async function openBoth(host: string, port: number): Promise<Transport> {
  const counters = noTraffic();
  const udp = await UdpEdge.open(host, port, counters);
  try {
    const tcp = await TcpEdge.open(host, udp.port, counters);
    const address: MemberAddress = formatMemberAddress(host, udp.port);
    return {
      address,
      counters,
      start: (handlers: TransportHandlers) => {
        udp.start((from, bytes) => handlers.packet(from, bytes));
        tcp.start((from, frame) => handlers.frame(from, frame));
      },
      send: (to, bytes) => udp.send(to, bytes),
      dial: (to, frame, timeoutMs, answered) => tcp.dial(to, frame, timeoutMs, answered),
      [Symbol.asyncDispose]: async () => {
        await Promise.all([udp[Symbol.asyncDispose](), tcp[Symbol.asyncDispose]()]);
      },
    };
  } catch (error) {
    await udp[Symbol.asyncDispose]();
    throw error;
  }
}
