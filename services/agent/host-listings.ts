/** What this host's kernel shows of connections, sockets and listeners, listed on demand. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { ConntrackRecord } from "../../src/flow/observe.ts";
import { dumpConntrack, openConntrack } from "../../src/kernel/conntrack.ts";
import { KernelListing } from "../../src/kernel/listing.ts";
import { destroyTcpSocket, listTcpListeners, listTcpSockets, openSockDiag } from "../../src/kernel/sock-diag.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { Listings, ListingVisitor } from "./listings.ts";

export class HostListings implements Listings, Disposable {
  readonly #resources = new DisposableStack();
  readonly #conntrack = this.#resources.use(openConntrack());
  readonly #sockets = this.#resources.use(openSockDiag());
  readonly #listing: KernelListing;

  /** @param fail hears once that connections can't be listed any more */
  constructor(fail: (error: Error) => void) {
    this.#listing = this.#resources.use(new KernelListing(fail));
  }

  walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    return this.#listing.walk(local, {
      connections(rows) {
        for (const record of rows) visitor.connection(record);
      },
      sockets(sockets) {
        for (const socket of sockets) visitor.socket(socket);
      },
    });
  }

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
