/** Short dialogues over TCP: a question, an answer, perhaps a last word. Every one has a deadline. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { formatMemberAddress, hostPortOf } from "../address.ts";
import type { MemberAddress } from "../member.ts";
import { FrameReader, frameOf } from "./frames.ts";
import type { TransportCounters } from "./transport.ts";

/** Open at a time, both ways; further ones are refused. */
const streamsMax = 128;

/** A stream that another opened is done by then. */
const acceptedTimeoutMs = 10_000;

/** Frames that who opened a stream may send. */
const framesMax = 2;

type Heard = (from: MemberAddress, frame: Uint8Array) => Uint8Array | undefined;

export class TcpEdge implements AsyncDisposable {
  readonly #server: Server;
  readonly #counters: TransportCounters;
  readonly #sockets = new Set<Socket>();
  #heard: Heard | undefined;

  private constructor(server: Server, counters: TransportCounters) {
    this.#server = server;
    this.#counters = counters;
    server.on("connection", (socket) => {
      // Before the start nobody is listened to, and a socket that nobody reads would never end.
      if (this.#heard === undefined) socket.destroy();
      else this.#accept(socket, this.#heard).catch(() => this.#counters.streamsFailed++);
    });
  }

  /** Rejects when the port can't be had. */
  static async open(host: string, port: number, counters: TransportCounters): Promise<TcpEdge> {
    const server = createServer();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(port, host, resolve);
    await promise;
    server.off("error", reject);
    server.on("error", () => counters.streamsFailed++);
    return new TcpEdge(server, counters);
  }

  start(heard: Heard): void {
    this.#heard = heard;
  }

  async dial(
    to: MemberAddress,
    frame: Uint8Array,
    timeoutMs: number,
    answered: (reply: Uint8Array) => Uint8Array | undefined,
  ): Promise<void> {
    if (this.#sockets.size >= streamsMax) {
      this.#counters.streamsRefused++;
      throw new Error(`${streamsMax} streams are open already`);
    }
    using socket = this.#hold(connect(hostPortOf(to)), timeoutMs);
    this.#counters.streamsOpened++;
    const reader = new FrameReader(socket.socket);
    this.#write(socket.socket, frame);
    const reply = await this.#read(reader);
    if (reply === undefined) throw new Error(`${to} closed the stream without an answer`);
    const last = answered(reply);
    if (last !== undefined) this.#write(socket.socket, last);
    await finish(socket.socket);
  }

  async #accept(accepted: Socket, heard: Heard): Promise<void> {
    if (this.#sockets.size >= streamsMax) {
      this.#counters.streamsRefused++;
      accepted.destroy();
      return;
    }
    this.#counters.streamsAccepted++;
    using held = this.#hold(accepted, acceptedTimeoutMs);
    const { socket } = held;
    const from = formatMemberAddress(socket.remoteAddress ?? "", socket.remotePort ?? 0);
    const reader = new FrameReader(socket);
    for (let frames = 0; frames < framesMax; frames++) {
      const frame = await this.#read(reader);
      if (frame === undefined) break;
      const reply = heard(from, frame);
      if (reply === undefined) break;
      this.#write(socket, reply);
    }
    await finish(socket);
  }

  async #read(reader: FrameReader): Promise<Buffer | undefined> {
    const frame = await reader.next();
    this.#counters.streamBytesReceived += frame?.length ?? 0;
    return frame;
  }

  #write(socket: Socket, frame: Uint8Array): void {
    this.#counters.streamBytesSent += frame.length;
    socket.write(frameOf(frame));
  }

  /** Whatever happens, the socket is gone at the end; at the deadline it is destroyed with an error. */
  #hold(socket: Socket, timeoutMs: number): { readonly socket: Socket } & Disposable {
    const timer = setTimeout(() => socket.destroy(new Error(`no end after ${timeoutMs} ms`)), timeoutMs);
    this.#sockets.add(socket);
    return {
      socket,
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        this.#sockets.delete(socket);
        socket.destroy();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Ends our side, and waits until everything is delivered or the stream is broken. */
async function finish(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("close", () => resolve());
  socket.end(resolve);
  await promise;
}
