/** Sends whole IPv4 packets, header included (man 7 raw). */
import type { IpAddress } from "../flow/address.ts";
import { concatBytes } from "./attributes.ts";
import type { ErrnoName } from "./kernel-error.ts";
import { addressFamily, KernelSocket, optionLevel, socketOption, socketType } from "./libc.ts";
import { rawAddress } from "./rtnetlink.ts";

/** "EMSGSIZE": larger than the MTU of its way, which is not fragmented. */
export type RawSendOutcome = { readonly ok: true } | { readonly ok: false; readonly errno: ErrnoName };

/** Its protocol number says that packets come with their header. */
const rawProtocol = 255;

export class RawIpv4Socket implements Disposable {
  readonly #socket = new KernelSocket("raw IPv4 socket", addressFamily.inet, socketType.raw, rawProtocol);
  #mark = 0;

  /**
   * The kernel looks up the route to `destination`, which need not be the packet's own, and fills in the header's
   * checksum. The network may refuse a packet at any time, so that is a value.
   * @param mark of the packet, for routing rules and filters
   */
  send(packet: Uint8Array, destination: IpAddress, mark = 0): RawSendOutcome {
    if (mark !== this.#mark) {
      this.#socket.setOption(optionLevel.socket, socketOption.mark, mark);
      this.#mark = mark;
    }
    const errno = this.#socket.send(packet, socketAddress(destination));
    return errno === undefined ? { ok: true } : { ok: false, errno };
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** struct sockaddr_in, port 0 */
function socketAddress(address: IpAddress): Uint8Array {
  const bytes = rawAddress(address);
  if (bytes.length !== 4) throw new RangeError(`an IPv4 packet can't be sent to ${address}`);
  return concatBytes([Uint8Array.of(addressFamily.inet, 0, 0, 0), bytes, new Uint8Array(8)]);
}
