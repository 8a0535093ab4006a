/** What this host's kernel shows of connections, sockets and listeners, listed on demand. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { ConntrackRecord } from "../../src/flow/observe.ts";
import { dumpConntrack, openConntrack, streamConntrack } from "../../src/kernel/conntrack.ts";
import {
  destroyTcpSocket,
  listTcpListeners,
  listTcpSockets,
  openSockDiag,
  streamTcpSockets,
} from "../../src/kernel/sock-diag.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import { eachInSlices } from "../../src/runtime/slices.ts";
import type { Listings, ListingVisitor } from "./flow-observer.ts";

const sliceMs = 4;
/** A look at the clock for each socket would cost more than the socket. */
const socketsPerLook = 32;

export class HostListings implements Listings, Disposable {
  readonly #resources = new DisposableStack();
  readonly #conntrack = this.#resources.use(openConntrack());
  readonly #sockets = this.#resources.use(openSockDiag());
  /** Of their own: a listing that takes its time allows no other call on its socket. */
  readonly #slowConntrack = this.#resources.use(openConntrack());
  readonly #slowSockets = this.#resources.use(openSockDiag());
  #slowest: Promise<void> = Promise.resolve();
  readonly #closed = new AbortController();

  /** One listing at a time; a second one waits for its turn. */
  walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    const turn = this.#slowest.then(() => this.#walk(local, visitor));
    this.#slowest = turn.catch(() => undefined);
    return turn;
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
    this.#closed.abort(new Error("the host's connections are not listed any more"));
    this.#resources.dispose();
  }

  async #walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    const { signal } = this.#closed;
    signal.throwIfAborted();
    const connections = streamConntrack(this.#slowConntrack, { localAddress: local });
    const visitRows = (rows: Iterable<ConntrackRecord>) => {
      for (const record of rows) visitor.connection(record);
    };
    await eachInSlices(connections, visitRows, { sliceMs, signal });
    const sockets = streamTcpSockets(this.#slowSockets, { localAddress: local });
    await eachInSlices(sockets, (socket) => socket && visitor.socket(socket), {
      sliceMs,
      itemsPerLook: socketsPerLook,
      signal,
    });
  }
}
