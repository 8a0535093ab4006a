/** What the observer of flows asks of the kernel: connection entries and sockets. host-listings.ts has them of this host. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { ConntrackRecord } from "../../src/flow/observe.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";

/** Hears what a listing shows; all of the connection entries before the first socket. */
export interface ListingVisitor {
  connection(record: ConntrackRecord): void;
  socket(socket: TcpSocket): void;
}

/** What the kernel shows now. */
export interface Listings {
  /** TCP sockets that are not listening, with this local address. */
  sockets(local: IpAddress): readonly TcpSocket[];
  /** Connection entries with this address at either end. */
  connections(local: IpAddress): readonly ConntrackRecord[];
  /** Both, begun after this call, in slices that leave the event loop to others in between. */
  walk(local: IpAddress, visitor: ListingVisitor): Promise<void>;
}
