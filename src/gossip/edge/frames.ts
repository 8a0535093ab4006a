/** Frames on a TCP stream: a length of four bytes, then as many. Bounded, and waited for no longer than a signal allows. */
import type { Socket } from "node:net";
import { frameBytesMax } from "./transport.ts";

const lengthBytes = 4;

export function frameOf(bytes: Uint8Array): Buffer {
  const head = Buffer.allocUnsafe(lengthBytes);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

/** Reads frames of a socket in their order; what arrives ahead of its reader waits, up to one frame. */
export class FrameReader {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #held = 0;
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.once("end", () => this.#end(undefined));
    socket.once("error", (error) => this.#end(error));
    socket.once("close", () => this.#end(undefined));
  }

  /** Undefined: the other end has closed between two frames. Throws on errors, bad lengths, and closing within a frame. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const frame = this.#frame();
      if (frame !== undefined) return frame;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended && this.#held === 0) return undefined;
      if (this.#ended) throw new Error("the stream ended within a frame");
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #frame(): Buffer | undefined {
    if (this.#held < lengthBytes) return undefined;
    const held = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [held];
    const length = held.readUInt32BE();
    if (length > frameBytesMax) throw new Error(`a frame of ${length} bytes, and ${frameBytesMax} are allowed`);
    const end = lengthBytes + length;
    if (held.length < end) return undefined;
    this.#chunks = end === held.length ? [] : [held.subarray(end)];
    this.#held = held.length - end;
    return held.subarray(lengthBytes, end);
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held > frameBytesMax + lengthBytes) this.#socket.destroy(new Error("more than a frame was sent ahead"));
    this.#wake?.();
  }

  #end(error: Error | undefined): void {
    this.#error ??= error;
    this.#ended = true;
    this.#wake?.();
  }
}
