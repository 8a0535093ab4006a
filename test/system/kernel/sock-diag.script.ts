/** An actor that lists and destroys the TCP sockets of its namespace, and has connections of its own. */
import {
  canDestroyTcpSockets,
  destroyTcpSocket,
  listTcpListeners,
  listTcpSockets,
  openSockDiag,
  type TcpSocketQuery,
} from "../../../src/kernel/sock-diag.ts";
import type { TcpSocket } from "../../../src/kernel/sock-diag-codec.ts";
import { serveCalls } from "./actor.ts";
import { socketCalls } from "./sockets.ts";

const netlink = openSockDiag();
const sockets = socketCalls();

const between = (localPort: number, remotePort: number): TcpSocket[] =>
  listTcpSockets(netlink).filter((socket) => socket.localPort === localPort && socket.remotePort === remotePort);

const sockDiagCalls = {
  canDestroy: () => canDestroyTcpSockets(netlink),
  listeners: () => listTcpListeners(netlink),
  list: (query: TcpSocketQuery) => listTcpSockets(netlink, query),
  between,
  /** Each one twice. */
  destroyBetween: (localPort: number, remotePort: number): string[] =>
    between(localPort, remotePort).flatMap((socket) => [
      destroyTcpSocket(netlink, socket),
      destroyTcpSocket(netlink, socket),
    ]),
  /** Connections of this host with itself, each of them two sockets; then the fastest of some listings. */
  fastestListing: async (port: number, connections: number): Promise<{ count: number; elapsedMs: number }> => {
    for (let i = 0; i < connections; i++) await sockets.connect("127.0.0.1", port);
    const listings = Array.from({ length: 5 }, () => {
      const startMs = performance.now();
      const count = listTcpSockets(netlink).length;
      return { count, elapsedMs: performance.now() - startMs };
    });
    return listings.reduce((best, one) => (one.elapsedMs < best.elapsedMs ? one : best));
  },
};

export type SockDiagActor = typeof sockDiagCalls & ReturnType<typeof socketCalls>;

serveCalls({ ...sockDiagCalls, ...sockets });
