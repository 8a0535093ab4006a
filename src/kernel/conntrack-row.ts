/**
 * Conntrack entries in rows of fixed size: compact, and moved between threads as they are.
 *
 * Owns the layout of a row. Pure; a reader formats an address only when somebody asks for it.
 */
import { type IpAddress, ipAddressFromBytes, mappedBytes } from "../flow/address.ts";
import type { Protocol } from "../flow/flow.ts";
import type { ConntrackRecord, ConntrackTcpState, Tuple } from "../flow/observe.ts";
import { viewOf } from "./attributes.ts";

/**
 * Offsets. Numbers of 32 bits are little-endian; ports are in network order, as the kernel sends them. IPv4 addresses
 * are mapped.
 */
export const rowField = {
  event: 0,
  protocol: 1,
  tcpState: 2,
  /** 1 where the timeout is known. */
  timed: 3,
  status: 4,
  mark: 8,
  id: 12,
  timeoutSeconds: 16,
  original: 20,
  reply: 56,
} as const;

/** Offsets within `original` and `reply`. */
export const tupleField = { source: 0, destination: 16, sourcePort: 32, destinationPort: 34 } as const;

export const conntrackRowBytes = 92;
export const eventNumber = { new: 0, update: 1, destroy: 2 } as const;
export const protocolNumber = { tcp: 6, udp: 17 } as const satisfies Record<Protocol, number>;
/** Of a row without a TCP state. */
export const noTcpState = 0xff;

const events = ["new", "update", "destroy"] as const satisfies readonly (keyof typeof eventNumber)[];
const tcpStates: readonly ConntrackTcpState[] = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
];

/** Rows as they travel between threads; transfer `bytes.buffer`. */
export interface PackedConntrackRows {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
  /** Messages that could not be read and are missing here. */
  readonly malformed: number;
}

/** Records are views: each stays valid, and keeps all the rows in memory, for as long as somebody holds it. */
export class ConntrackRows implements Iterable<ConntrackRecord> {
  readonly count: number;
  readonly malformed: number;
  /** As they may travel on; whoever moves them away must not read these rows any more. */
  readonly packed: PackedConntrackRows;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(packed: PackedConntrackRows) {
    this.packed = packed;
    this.#bytes = packed.bytes;
    this.#view = viewOf(packed.bytes);
    this.count = packed.count;
    this.malformed = packed.malformed;
  }

  *[Symbol.iterator](): Generator<ConntrackRecord> {
    for (let row = 0; row < this.count; row++) {
      yield new RowRecord(this.#bytes, this.#view, row * conntrackRowBytes);
    }
  }
}

class RowRecord implements ConntrackRecord {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #start: number;

  constructor(bytes: Uint8Array, view: DataView, start: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#start = start;
  }

  get event(): ConntrackRecord["event"] {
    return events[this.#bytes[this.#start + rowField.event] ?? eventNumber.update] ?? "update";
  }

  get protocol(): Protocol {
    return this.#bytes[this.#start + rowField.protocol] === protocolNumber.udp ? "udp" : "tcp";
  }

  get original(): Tuple {
    return new RowTuple(this.#bytes, this.#view, this.#start + rowField.original);
  }

  get reply(): Tuple {
    return new RowTuple(this.#bytes, this.#view, this.#start + rowField.reply);
  }

  get tcpState(): ConntrackTcpState | undefined {
    return tcpStates[this.#bytes[this.#start + rowField.tcpState] ?? noTcpState];
  }

  get status(): number {
    return this.#view.getUint32(this.#start + rowField.status, true);
  }

  get mark(): number {
    return this.#view.getUint32(this.#start + rowField.mark, true);
  }

  get id(): number {
    return this.#view.getUint32(this.#start + rowField.id, true);
  }

  get timeoutSeconds(): number | undefined {
    if (this.#bytes[this.#start + rowField.timed] !== 1) return undefined;
    return this.#view.getUint32(this.#start + rowField.timeoutSeconds, true);
  }
}

class RowTuple implements Tuple {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #start: number;

  constructor(bytes: Uint8Array, view: DataView, start: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#start = start;
  }

  get source(): IpAddress {
    return this.#address(tupleField.source);
  }

  get destination(): IpAddress {
    return this.#address(tupleField.destination);
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.#start + tupleField.sourcePort);
  }

  get destinationPort(): number {
    return this.#view.getUint16(this.#start + tupleField.destinationPort);
  }

  #address(field: number): IpAddress {
    const start = this.#start + field;
    return ipAddressFromBytes(this.#bytes.subarray(start, start + mappedBytes));
  }
}
