/**
 * The form of netlink messages and their attributes (man 7 netlink, rfc3549), bytes to values and back.
 *
 * Pure. Nothing here reads outside the bytes given, whatever they say about lengths; what does not add up gives
 * `undefined`. Numbers are little-endian as on every host we run on, but for those named `be`, in network order.
 */

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Netlink port of the process that it is an answer to; 0 is the kernel. */
  readonly port: number;
  /** What follows the header: the family's own header, then attributes. A view, not a copy. */
  readonly payload: Uint8Array;
}

const messageHeaderBytes = 16;
const attributeHeaderBytes = 4;
const nestedFlag = 0x8000;
/** Without the flags "nested" and "network byte order". */
const attributeTypeMask = 0x3fff;

export function encodeMessage(
  header: { readonly type: number; readonly flags: number; readonly sequence: number },
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(messageHeaderBytes + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, header.type, true);
  view.setUint16(6, header.flags, true);
  view.setUint32(8, header.sequence, true);
  bytes.set(payload, messageHeaderBytes);
  return bytes;
}

/** All messages of one datagram, or `undefined` when one of them does not fit into it. */
export function decodeMessages(datagram: Uint8Array): readonly NetlinkMessage[] | undefined {
  const view = viewOf(datagram);
  const messages: NetlinkMessage[] = [];
  let start = 0;
  while (datagram.length - start >= messageHeaderBytes) {
    const length = view.getUint32(start, true);
    if (length < messageHeaderBytes || length > datagram.length - start) return undefined;
    messages.push({
      type: view.getUint16(start + 4, true),
      flags: view.getUint16(start + 6, true),
      sequence: view.getUint32(start + 8, true),
      port: view.getUint32(start + 12, true),
      payload: datagram.subarray(start + messageHeaderBytes, start + length),
    });
    start += align4(length);
  }
  return start < datagram.length ? undefined : messages;
}

/**
 * Calls `visit` with the type and the bounds of each attribute in bytes[start, end). False when one does not fit; the
 * ones before it have been visited then. Allocates nothing, for those who read many thousand messages a second.
 */
export function walkAttributes(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (type: number, start: number, end: number) => void,
): boolean {
  if (start < 0 || end > bytes.length) return false;
  let at = start;
  while (end - at >= attributeHeaderBytes) {
    const length = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    const type = ((bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8)) & attributeTypeMask;
    if (length < attributeHeaderBytes || length > end - at) return false;
    visit(type, at + attributeHeaderBytes, at + length);
    at += align4(length);
  }
  return true;
}

/** Attributes by type; of several of one type the last, as in the kernel. Up to 3 bytes of padding may follow. */
export function decodeAttributes(bytes: Uint8Array): Attributes | undefined {
  const values = new Map<number, Uint8Array>();
  const whole = walkAttributes(bytes, 0, bytes.length, (type, start, end) => {
    values.set(type, bytes.subarray(start, end));
  });
  return whole ? new Attributes(values) : undefined;
}

/** Reads values; one that is absent or too short is `undefined`. */
export class Attributes {
  readonly #values: ReadonlyMap<number, Uint8Array>;

  constructor(values: ReadonlyMap<number, Uint8Array>) {
    this.#values = values;
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#values.get(type)?.[0];
  }

  u16(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0, true);
  }

  be16(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0);
  }

  be32(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0);
  }

  /** Up to the first zero byte. */
  text(type: number): string | undefined {
    const bytes = this.#values.get(type);
    if (bytes === undefined) return undefined;
    const zero = bytes.indexOf(0);
    return new TextDecoder().decode(zero < 0 ? bytes : bytes.subarray(0, zero));
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.#values.get(type);
    return bytes === undefined ? undefined : decodeAttributes(bytes);
  }

  #view(type: number, length: number): DataView | undefined {
    const bytes = this.#values.get(type);
    return bytes === undefined || bytes.length < length ? undefined : viewOf(bytes);
  }
}

/** One attribute, padded to 4 bytes. Concatenate several with {@link concatBytes}. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const length = attributeHeaderBytes + value.length;
  if (length > 0xffff) throw new RangeError(`an attribute has at most 65531 bytes, not ${value.length}`);
  const bytes = new Uint8Array(align4(length));
  const view = viewOf(bytes);
  view.setUint16(0, length, true);
  view.setUint16(2, type, true);
  bytes.set(value, attributeHeaderBytes);
  return bytes;
}

export function nestedAttribute(type: number, ...attributes: readonly Uint8Array[]): Uint8Array {
  return attribute(type | nestedFlag, concatBytes(attributes));
}

export function u8Attribute(type: number, value: number): Uint8Array {
  return attribute(type, Uint8Array.of(value));
}

export function u16Attribute(type: number, value: number): Uint8Array {
  return attribute(
    type,
    encoded(2, (view) => view.setUint16(0, value, true)),
  );
}

export function u32Attribute(type: number, value: number): Uint8Array {
  return attribute(
    type,
    encoded(4, (view) => view.setUint32(0, value, true)),
  );
}

export function be16Attribute(type: number, value: number): Uint8Array {
  return attribute(
    type,
    encoded(2, (view) => view.setUint16(0, value)),
  );
}

export function be32Attribute(type: number, value: number): Uint8Array {
  return attribute(
    type,
    encoded(4, (view) => view.setUint32(0, value)),
  );
}

/** With the zero byte at its end that the kernel wants of names. */
export function textAttribute(type: number, value: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${value}\0`));
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function align4(length: number): number {
  return (length + 3) & ~3;
}

function encoded(length: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  write(viewOf(bytes));
  return bytes;
}
