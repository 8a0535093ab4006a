/**
 * Copies of packets that nftables logs to a group: subscription and decoding, in the receiving worker.
 * linux/netfilter/nfnetlink_log.h
 */
import { readFileSync } from "node:fs";
import {
  attribute,
  be16Attribute,
  be32Attribute,
  concatBytes,
  decodeAttributes,
  decodeMessages,
  u8Attribute,
  viewOf,
} from "./attributes.ts";
import { KernelError } from "./kernel-error.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";
import type { EventSource } from "./worker-protocol.ts";

export interface NflogOptions {
  readonly groups: readonly number[];
  /** Bytes of each packet that are copied, from its network header on. */
  readonly snapBytes: number;
  /** Packets that the kernel gathers in one datagram, at most. */
  readonly gatherPackets: number;
  /** How long a gathered packet waits at most, in steps of 10 ms. */
  readonly gatherMs: number;
  /** Of the socket: what the kernel keeps while nobody reads. */
  readonly receiveBufferBytes: number;
}

export interface LoggedPacket {
  readonly group: number;
  /** From the network header on, cut at `snapBytes`. */
  readonly payload: Uint8Array;
  /** Of the nftables log statement, or "". */
  readonly prefix: string;
  /** 0 if the packet had none. */
  readonly mark: number;
  /** Index of the device that it came in by; 0 for packets of this host. */
  readonly inputDevice: number;
  /** Link-layer source, "aa:bb:cc:dd:ee:ff"; absent where the device has none. */
  readonly sourceLinkAddress?: string;
  /** Counts the packets of the group: a gap is a loss. */
  readonly sequence: number;
}

const subsystem = 4;
const packetType = (subsystem << 8) | 0;
const configureType = (subsystem << 8) | 1;
const genericHeaderBytes = 4;
const command = { bind: 1 } as const;
const copyPacketMode = 2;
const sequenceFlag = 1;
const configure = { command: 1, mode: 2, bufferBytes: 3, timeout: 4, threshold: 5, flags: 6 } as const;
const field = { mark: 2, inputDevice: 4, linkAddress: 8, payload: 9, prefix: 10, sequence: 12 } as const;
/** Room for gathered packets in the kernel; its own maximum. */
const gatherBytes = 128 * 1024;
const ethernetAddressBytes = 6;
const boundGroupsPath = "/proc/net/netfilter/nfnetlink_log";

export function openEventSource(options: NflogOptions): EventSource<readonly LoggedPacket[]> {
  const socket = new NetlinkSocket(netlinkFamily.netfilter);
  try {
    socket.setReceiveBuffer(options.receiveBufferBytes);
    for (const group of options.groups) subscribe(socket, group, options);
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
  let packets: LoggedPacket[] = [];
  let transfer: ArrayBuffer[] = [];
  return {
    socket,
    add(datagram) {
      const kept = datagram.slice();
      transfer.push(kept.buffer);
      packets.push(...decodeLoggedPackets(kept));
    },
    take() {
      const taken = { records: packets, transfer };
      packets = [];
      transfer = [];
      return taken;
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}

/** The packets of one datagram; what is malformed or something else is left out. Payloads are views of it. */
export function decodeLoggedPackets(datagram: Uint8Array): readonly LoggedPacket[] {
  const packets: LoggedPacket[] = [];
  for (const { type, payload } of decodeMessages(datagram) ?? []) {
    if (type !== packetType || payload.length < genericHeaderBytes) continue;
    const attributes = decodeAttributes(payload.subarray(genericHeaderBytes));
    if (attributes === undefined) continue;
    const sourceLinkAddress = linkAddressOf(attributes.bytes(field.linkAddress));
    packets.push({
      group: viewOf(payload).getUint16(2),
      payload: attributes.bytes(field.payload) ?? new Uint8Array(0),
      prefix: attributes.text(field.prefix) ?? "",
      mark: attributes.be32(field.mark) ?? 0,
      inputDevice: attributes.be32(field.inputDevice) ?? 0,
      ...(sourceLinkAddress !== undefined && { sourceLinkAddress }),
      sequence: attributes.be32(field.sequence) ?? 0,
    });
  }
  return packets;
}

function subscribe(socket: NetlinkSocket, group: number, options: NflogOptions): void {
  const operation = `subscribe to nflog group ${group}`;
  const order = (...attributes: readonly Uint8Array[]): void => {
    const header = Uint8Array.of(0, 0, group >> 8, group & 0xff);
    const outcome = socket.tryRequest(configureType, 0, concatBytes([header, ...attributes]), operation);
    if (outcome.ok) return;
    throw outcome.error.errno === "EPERM" && isBound(group) ? new KernelError(operation, "EBUSY") : outcome.error;
  };
  order(u8Attribute(configure.command, command.bind));
  order(
    attribute(configure.mode, copyMode(options.snapBytes)),
    be32Attribute(configure.bufferBytes, gatherBytes),
    be32Attribute(configure.timeout, Math.ceil(options.gatherMs / 10)),
    be32Attribute(configure.threshold, options.gatherPackets),
    be16Attribute(configure.flags, sequenceFlag),
  );
}

/** The kernel says EPERM as well when another socket has the group. Each line of its list starts with a group. */
function isBound(group: number): boolean {
  try {
    return readFileSync(boundGroupsPath, "utf8")
      .split("\n")
      .some((line) => Number(line.trim().split(/\s+/)[0]) === group);
  } catch {
    return false;
  }
}

/** struct nfulnl_msg_config_mode */
function copyMode(snapBytes: number): Uint8Array {
  const bytes = new Uint8Array(6);
  viewOf(bytes).setUint32(0, snapBytes);
  bytes[4] = copyPacketMode;
  return bytes;
}

/** struct nfulnl_msg_packet_hw: length, padding, 8 bytes of room. */
function linkAddressOf(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined || bytes.length < 4 + ethernetAddressBytes) return undefined;
  if (viewOf(bytes).getUint16(0) !== ethernetAddressBytes) return undefined;
  return Array.from(bytes.subarray(4, 4 + ethernetAddressBytes), (byte) => byte.toString(16).padStart(2, "0")).join(
    ":",
  );
}
