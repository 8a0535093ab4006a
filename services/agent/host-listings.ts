/** What this host's kernel shows of connections, sockets and listeners, listed on demand. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { ConntrackRecord } from "../../src/flow/observe.ts";
import { dumpConntrack, openConntrack } from "../../src/kernel/conntrack.ts";
import { destroyTcpSocket, listTcpListeners, listTcpSockets, openSockDiag } from "../../src/kernel/sock-diag.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { Listings } from "./flow-observer.ts";

export class HostListings implements Listings, Disposable {
  readonly #resources = new DisposableStack();
  readonly #conntrack = this.#resources.use(openConntrack());
  readonly #sockets = this.#resources.use(openSockDiag());

  sockets(local: IpAddress): readonly TcpSocket[] {
    return listTcpSockets(this.#sockets, { localAddress: local });
  }

  connections(local: IpAddress): readonly ConntrackRecord[] {
    return [...dumpConntrack(this.#conntrack, { localAddress: local })];
  }

  /** Ports with a listener bound to this very address. */
  boundPorts(local: IpAddress): readonly number[] {
    const listeners = listTcpListeners(this.#sockets).filter((listener) => listener.local === local);
    return [...new Set(listeners.map((listener) => listener.localPort))].sort((left, right) => left - right);
  }

  /** Resets a connection; false: it was gone already. @throws Error where the kernel can't */
  destroy(socket: TcpSocket): boolean {
    const outcome = destroyTcpSocket(this.#sockets, socket);
    if (outcome === "unsupported") throw new Error("this kernel can't reset connections (CONFIG_INET_DIAG_DESTROY)");
    return outcome === "destroyed";
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
