/**
 * The messages of ctnetlink (linux/netfilter/nfnetlink_conntrack.h), bytes to rows.
 *
 * Pure, and made for a hundred thousand events a second: {@link ConntrackRowWriter} packs each message about a TCP or
 * UDP entry into a row and allocates nothing for it. What is malformed is counted and left out.
 */
import { mappedBytes } from "../flow/address.ts";
import { viewOf, walkAttributes } from "./attributes.ts";
import {
  conntrackRowBytes,
  eventNumber,
  noTcpState,
  type PackedConntrackRows,
  protocolNumber,
  rowField,
  tupleField,
} from "./conntrack-row.ts";

const subsystem = 1;
/** Types of messages, with the netfilter subsystem inside. A listing is answered by `new`. */
export const conntrackMessage = {
  new: subsystem << 8,
  get: (subsystem << 8) | 1,
  delete: (subsystem << 8) | 2,
} as const;
export const conntrackAttribute = {
  original: 1,
  reply: 2,
  status: 3,
  protocolInfo: 4,
  timeout: 7,
  mark: 8,
  id: 12,
  markMask: 21,
} as const;
export const tupleAttribute = { ip: 1, protocol: 2 } as const;
export const ipAttribute = { ipv4Source: 1, ipv4Destination: 2, ipv6Source: 3, ipv6Destination: 4 } as const;
export const portAttribute = { protocol: 1, source: 2, destination: 3 } as const;
const protocolInfoTcp = 1;
const protocolInfoTcpState = 1;

const netlinkHeaderBytes = 16;
/** struct nfgenmsg */
export const netfilterHeaderBytes = 4;
const createFlag = 0x400;

/** What has been seen of a tuple. */
const seen = { source: 1, destination: 2, sourcePort: 4, destinationPort: 8, protocol: 16 } as const;
const portsAndAddresses = seen.source | seen.destination | seen.sourcePort | seen.destinationPort;
const wholeTuple = portsAndAddresses | seen.protocol;
/** Rows that the first buffer holds. */
const firstRows = 64;

/** Decides whether a row is kept: `rows` from `start` on. */
export type RowFilter = (rows: Uint8Array, start: number) => boolean;

export class ConntrackRowWriter {
  readonly #wanted: RowFilter | undefined;
  #rows = new Uint8Array(firstRows * conntrackRowBytes);
  #count = 0;
  #malformed = 0;

  // The message being read.
  #bytes: Uint8Array = new Uint8Array(0);
  #row = 0;
  #tuple = 0;
  #tupleSeen = 0;
  #originalSeen = 0;
  #replySeen = 0;
  #broken = false;

  constructor(wanted?: RowFilter) {
    this.#wanted = wanted;
  }

  get count(): number {
    return this.#count;
  }

  /** All messages of one datagram. */
  addDatagram(datagram: Uint8Array): void {
    const view = viewOf(datagram);
    let start = 0;
    while (start < datagram.length) {
      const left = datagram.length - start;
      const length = left < netlinkHeaderBytes ? 0 : view.getUint32(start, true);
      if (length < netlinkHeaderBytes || length > left) {
        this.#malformed++;
        return;
      }
      const type = view.getUint16(start + 4, true);
      const flags = view.getUint16(start + 6, true);
      this.#add(type, flags, datagram, start + netlinkHeaderBytes, start + length);
      start += (length + 3) & ~3;
    }
  }

  /** One message, without its netlink header. */
  addMessage(type: number, flags: number, payload: Uint8Array): void {
    this.#add(type, flags, payload, 0, payload.length);
  }

  /** What was added since the last call. */
  take(): PackedConntrackRows {
    const bytes = this.#rows.slice(0, this.#count * conntrackRowBytes);
    const taken = { bytes, count: this.#count, malformed: this.#malformed };
    this.#count = 0;
    this.#malformed = 0;
    return taken;
  }

  #add(type: number, flags: number, bytes: Uint8Array, start: number, end: number): void {
    const event = eventOf(type, flags);
    if (event === undefined) return;
    this.#startRow(event, bytes);
    const fits =
      end - start >= netfilterHeaderBytes && walkAttributes(bytes, start + netfilterHeaderBytes, end, this.#visitEntry);
    const protocol = this.#rows[this.#row + rowField.protocol];
    if (!fits || this.#broken || (this.#originalSeen & seen.protocol) === 0) {
      this.#malformed++;
    } else if (protocol === protocolNumber.tcp || protocol === protocolNumber.udp) {
      if (this.#originalSeen !== wholeTuple || this.#replySeen !== wholeTuple) this.#malformed++;
      else if (this.#wanted === undefined || this.#wanted(this.#rows, this.#row)) this.#count++;
    }
  }

  #startRow(event: number, bytes: Uint8Array): void {
    this.#row = this.#count * conntrackRowBytes;
    if (this.#row === this.#rows.length) {
      const larger = new Uint8Array(2 * this.#rows.length);
      larger.set(this.#rows);
      this.#rows = larger;
    }
    // A message that was not kept may have left something.
    this.#rows.fill(0, this.#row, this.#row + conntrackRowBytes);
    this.#rows[this.#row + rowField.event] = event;
    this.#rows[this.#row + rowField.tcpState] = noTcpState;
    this.#bytes = bytes;
    this.#originalSeen = 0;
    this.#replySeen = 0;
    this.#broken = false;
  }

  readonly #visitEntry = (type: number, start: number, end: number): void => {
    switch (type) {
      case conntrackAttribute.original:
        this.#originalSeen = this.#readTuple(rowField.original, start, end);
        return;
      case conntrackAttribute.reply:
        this.#replySeen = this.#readTuple(rowField.reply, start, end);
        return;
      case conntrackAttribute.status:
        this.#readNumber(rowField.status, start, end);
        return;
      case conntrackAttribute.timeout:
        this.#rows[this.#row + rowField.timed] = 1;
        this.#readNumber(rowField.timeoutSeconds, start, end);
        return;
      case conntrackAttribute.mark:
        this.#readNumber(rowField.mark, start, end);
        return;
      case conntrackAttribute.id:
        this.#readNumber(rowField.id, start, end);
        return;
      case conntrackAttribute.protocolInfo:
        this.#walk(start, end, this.#visitProtocolInfo);
    }
  };

  readonly #visitTuple = (type: number, start: number, end: number): void => {
    if (type === tupleAttribute.ip) this.#walk(start, end, this.#visitIp);
    else if (type === tupleAttribute.protocol) this.#walk(start, end, this.#visitPorts);
  };

  readonly #visitIp = (type: number, start: number, end: number): void => {
    if (type === ipAttribute.ipv4Source || type === ipAttribute.ipv6Source) {
      this.#readAddress(tupleField.source, start, end, type === ipAttribute.ipv4Source);
      this.#tupleSeen |= seen.source;
    } else if (type === ipAttribute.ipv4Destination || type === ipAttribute.ipv6Destination) {
      this.#readAddress(tupleField.destination, start, end, type === ipAttribute.ipv4Destination);
      this.#tupleSeen |= seen.destination;
    }
  };

  readonly #visitPorts = (type: number, start: number, end: number): void => {
    if (type === portAttribute.protocol) {
      this.#copy(this.#row + rowField.protocol, start, end, 1);
      this.#tupleSeen |= seen.protocol;
    } else if (type === portAttribute.source) {
      this.#copy(this.#tuple + tupleField.sourcePort, start, end, 2);
      this.#tupleSeen |= seen.sourcePort;
    } else if (type === portAttribute.destination) {
      this.#copy(this.#tuple + tupleField.destinationPort, start, end, 2);
      this.#tupleSeen |= seen.destinationPort;
    }
  };

  readonly #visitProtocolInfo = (type: number, start: number, end: number): void => {
    if (type === protocolInfoTcp) this.#walk(start, end, this.#visitTcpInfo);
  };

  readonly #visitTcpInfo = (type: number, start: number, end: number): void => {
    if (type === protocolInfoTcpState) this.#copy(this.#row + rowField.tcpState, start, end, 1);
  };

  #walk(start: number, end: number, visit: (type: number, start: number, end: number) => void): void {
    if (!walkAttributes(this.#bytes, start, end, visit)) this.#broken = true;
  }

  #readTuple(field: number, start: number, end: number): number {
    this.#tuple = this.#row + field;
    this.#tupleSeen = 0;
    this.#walk(start, end, this.#visitTuple);
    return this.#tupleSeen;
  }

  #readAddress(field: number, start: number, end: number, isIpv4: boolean): void {
    const at = this.#tuple + field;
    if (!isIpv4) {
      this.#copy(at, start, end, mappedBytes);
      return;
    }
    this.#rows[at + 10] = 0xff;
    this.#rows[at + 11] = 0xff;
    this.#copy(at + 12, start, end, 4);
  }

  /** Network order becomes little-endian. */
  #readNumber(field: number, start: number, end: number): void {
    if (end - start !== 4) this.#broken = true;
    else for (let i = 0; i < 4; i++) this.#rows[this.#row + field + i] = this.#bytes[end - 1 - i] ?? 0;
  }

  #copy(at: number, start: number, end: number, length: number): void {
    if (end - start !== length) this.#broken = true;
    else for (let i = 0; i < length; i++) this.#rows[at + i] = this.#bytes[start + i] ?? 0;
  }
}

function eventOf(type: number, flags: number): number | undefined {
  if (type === conntrackMessage.delete) return eventNumber.destroy;
  if (type !== conntrackMessage.new) return undefined;
  return (flags & createFlag) !== 0 ? eventNumber.new : eventNumber.update;
}
