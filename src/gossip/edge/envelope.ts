/**
 * What is around messages on the wire: the cluster's label, a checksum or a seal, and compression.
 *
 * magic (1), flags (1), label (1 + n), then the seal of the rest, or CRC-32 (4) and the rest. The label is no secret: it
 * keeps two clusters apart that share a network by mistake.
 */
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import { type Keyring, sealBytes } from "./keyring.ts";

/** How far a cluster is on its way to encryption; every step can be taken one member after another. */
export const encryptionModes = ["off", "accept", "send", "require"] as const;

/**
 * `off`: no keys. `accept`: reads both, sends plain. `send`: reads both, sends encrypted. `require`: reads encrypted only.
 */
export type EncryptionMode = (typeof encryptionModes)[number];

export interface EnvelopeOptions {
  /** At most {@link labelBytesMax} characters. */
  readonly label: string;
  readonly mode: EncryptionMode;
  /** Wanted for all modes but `off`. */
  readonly keyring: Keyring | undefined;
}

export const envelopeFaults = ["truncated", "magic", "label", "plain", "sealed", "crc", "compression", "size"] as const;
export type EnvelopeFault = (typeof envelopeFaults)[number];
export type Opened =
  | { readonly ok: true; readonly payload: Uint8Array }
  | { readonly ok: false; readonly fault: EnvelopeFault };

export const labelBytesMax = 32;
const magic = 0xb7;
const encrypted = 1;
const compressed = 2;
const crcBytes = 4;
const headBytes = 3;

/** Smaller payloads are not worth compressing. */
const compressFromBytes = 1_024;

/** The most that an envelope adds to a payload. */
export const envelopeBytesMax = headBytes + labelBytesMax + sealBytes;

export class Envelope {
  readonly #options: EnvelopeOptions;
  readonly #label: Buffer;

  constructor(options: EnvelopeOptions) {
    this.#options = options;
    this.#label = Buffer.from(options.label, "latin1");
    if (this.#label.length > labelBytesMax) throw new RangeError(`a label of ${this.#label.length} bytes`);
    if (options.mode !== "off" && options.keyring === undefined)
      throw new RangeError(`encryption mode ${options.mode} without keys`);
  }

  /** `compress`: if it is large enough to be worth it. */
  wrap(payload: Uint8Array, compress: boolean): Buffer {
    const { mode, keyring } = this.#options;
    const isSealed = keyring !== undefined && (mode === "send" || mode === "require");
    const isCompressed = compress && payload.length >= compressFromBytes;
    const content = isCompressed ? deflateRawSync(payload) : payload;
    const flags = (isSealed ? encrypted : 0) | (isCompressed ? compressed : 0);
    const head = Buffer.from([magic, flags, this.#label.length, ...this.#label]);
    if (isSealed) return Buffer.concat([head, keyring.seal(content, head)]);
    const sum = Buffer.allocUnsafe(crcBytes);
    sum.writeUInt32BE(crc32(content, crc32(head)));
    return Buffer.concat([head, sum, content]);
  }

  /** `payloadBytesMax`: what is larger when unpacked is a fault, and never unpacked as a whole. */
  open(bytes: Uint8Array, payloadBytesMax: number): Opened {
    const [first, flags, labelBytes] = bytes;
    if (first === undefined || flags === undefined || labelBytes === undefined) return fault("truncated");
    if (first !== magic || flags > (encrypted | compressed)) return fault("magic");
    const head = bytes.subarray(0, headBytes + labelBytes);
    if (!this.#label.equals(head.subarray(headBytes))) return fault("label");
    const content = this.#content(head, bytes.subarray(head.length), (flags & encrypted) !== 0);
    if (typeof content === "string") return fault(content);
    if ((flags & compressed) !== 0) return inflate(content, payloadBytesMax);
    return content.length > payloadBytesMax ? fault("size") : { ok: true, payload: content };
  }

  #content(head: Uint8Array, rest: Uint8Array, isSealed: boolean): Uint8Array | EnvelopeFault {
    if (isSealed) return this.#options.keyring?.open(rest, head) ?? "sealed";
    if (this.#options.mode === "require") return "plain";
    if (rest.length < crcBytes) return "truncated";
    const content = rest.subarray(crcBytes);
    const sum = Buffer.from(rest.buffer, rest.byteOffset, crcBytes).readUInt32BE();
    return sum === crc32(content, crc32(head)) ? content : "crc";
  }
}

function inflate(content: Uint8Array, payloadBytesMax: number): Opened {
  try {
    return { ok: true, payload: inflateRawSync(content, { maxOutputLength: payloadBytesMax }) };
  } catch (error) {
    const isTooLarge = error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
    return fault(isTooLarge ? "size" : "compression");
  }
}

function fault(kind: EnvelopeFault): Opened {
  return { ok: false, fault: kind };
}
