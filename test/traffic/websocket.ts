/** As much of WebSocket (RFC 6455) as short messages need: the key's answer, and frames of less than 126 bytes. */
import { createHash } from "node:crypto";

const keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const finalBit = 0x80;
const maskBit = 0x80;
const longestPayloadBytes = 125;

export const opcodes = { text: 1, close: 8 } as const;

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Value of Sec-WebSocket-Accept for a client's Sec-WebSocket-Key. */
export function acceptKey(key: string): string {
  return createHash("sha1")
    .update(key + keySuffix)
    .digest("base64");
}

/** A client must mask what it sends; `mask` is its four bytes. */
export function encodeFrame(opcode: number, payload: Buffer, mask?: Buffer): Buffer {
  if (payload.length > longestPayloadBytes) throw new RangeError(`a payload of ${payload.length} bytes`);
  const head = [finalBit | opcode, payload.length | (mask === undefined ? 0 : maskBit)];
  if (mask === undefined) return Buffer.concat([Buffer.from(head), payload]);
  return Buffer.concat([Buffer.from(head), mask, unmask(payload, mask)]);
}

/** Cuts a byte stream into frames. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0);

  push(piece: Buffer): Frame[] {
    let rest = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const frames: Frame[] = [];
    for (let frame = firstFrame(rest); frame !== undefined; frame = firstFrame(rest)) {
      frames.push(frame);
      rest = rest.subarray(frame.length);
    }
    this.#rest = rest;
    return frames;
  }
}

function firstFrame(bytes: Buffer): (Frame & { readonly length: number }) | undefined {
  const [first, second] = bytes;
  if (first === undefined || second === undefined) return undefined;
  const payloadBytes = second & 0x7f;
  if (payloadBytes > longestPayloadBytes) throw new Error("a frame with an extended length");
  const maskBytes = (second & maskBit) === 0 ? 0 : 4;
  const length = 2 + maskBytes + payloadBytes;
  if (bytes.length < length) return undefined;
  const payload = bytes.subarray(2 + maskBytes, length);
  return {
    opcode: first & 0x0f,
    payload: maskBytes === 0 ? payload : unmask(payload, bytes.subarray(2, 6)),
    length,
  };
}

/** Masking and unmasking are the same. */
function unmask(payload: Buffer, mask: Buffer): Buffer {
  return Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
}
