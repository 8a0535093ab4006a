/** Datagrams: one socket, which drops what it can't send at once. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { formatMemberAddress, hostPortOf } from "../address.ts";
import type { MemberAddress } from "../member.ts";
import type { TransportCounters } from "./transport.ts";

/** Datagrams that the system has not taken yet. */
const sendsMax = 1_024;

/** Room for what comes while the process does something else. */
const receiveBufferBytes = 1024 * 1024;

export class UdpEdge implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #counters: TransportCounters;
  #sending = 0;
  #closed = false;

  private constructor(socket: Socket, counters: TransportCounters) {
    this.#socket = socket;
    this.#counters = counters;
  }

  /** Port 0: any free one. Rejects when it can't be had. */
  static async open(host: string, port: number, counters: TransportCounters): Promise<UdpEdge> {
    const type = host.includes(":") ? "udp6" : "udp4";
    const socket = createSocket({ type, recvBufferSize: receiveBufferBytes });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("error", reject);
    socket.bind(port, host, resolve);
    await promise;
    socket.off("error", reject);
    /* Errors of earlier sends (a port that nobody listens on): the protocol notices by itself. */
    socket.on("error", () => counters.packetsDropped++);
    return new UdpEdge(socket, counters);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  start(received: (from: MemberAddress, bytes: Uint8Array) => void): void {
    this.#socket.on("message", (bytes: Buffer, { address, port }: RemoteInfo) => {
      this.#counters.packetsReceived++;
      this.#counters.packetBytesReceived += bytes.length;
      received(formatMemberAddress(address, port), bytes);
    });
  }

  send(to: MemberAddress, bytes: Uint8Array): void {
    if (this.#closed || this.#sending >= sendsMax) {
      this.#counters.packetsDropped++;
      return;
    }
    const { host, port } = hostPortOf(to);
    this.#sending++;
    this.#socket.send(bytes, port, host, (error) => {
      this.#sending--;
      if (error !== null) this.#counters.packetsDropped++;
    });
    this.#counters.packetsSent++;
    this.#counters.packetBytesSent += bytes.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
