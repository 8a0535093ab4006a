/**
 * A netlink socket: requests with their answers, dumps, and multicast events.
 *
 * Owns sequence numbers, acknowledgements and their errors (with the kernel's own words about them), and the size of
 * the receive buffer. It belongs to the network namespace that its thread was in when it was opened.
 */
import {
  concatBytes,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  viewOf,
} from "./attributes.ts";
import { type ErrnoName, errnoName, KernelError } from "./kernel-error.ts";
import { addressFamily, KernelSocket, optionLevel, type Received, socketOption, socketType } from "./libc.ts";

export const netlinkFamily = { route: 0, sockDiag: 4, netfilter: 12 } as const;
export type NetlinkFamily = (typeof netlinkFamily)[keyof typeof netlinkFamily];

export const messageFlags = {
  request: 0x1,
  acknowledge: 0x4,
  /** A dump that saw a table change under it. */
  dumpInterrupted: 0x10,
  dump: 0x300,
  /** With a new object: take the place of one that is there. */
  replace: 0x100,
  /** With a new object: fail (EEXIST) if it is there. */
  exclusive: 0x200,
  create: 0x400,
} as const;

export interface NetlinkSocketOptions {
  /** Multicast groups by number (1 and up), joined before the constructor returns. */
  readonly groups?: readonly number[];
  /** How long {@link NetlinkSocket.receive} waits, and a request for its answer. */
  readonly receiveTimeoutMs?: number;
}

/** The kernel answers while it takes the request; longer than this it does not. */
const defaultReceiveTimeoutMs = 5_000;
/** Datagrams of a dump are 32 KiB at most, those of nflog 64 KiB. */
export const datagramBytes = 128 * 1024;
/** Passes of one consistent dump over a table that keeps changing. */
const maxDumpPasses = 10;
/** Messages in the answer to one request that is no dump. */
const maxAnswerMessages = 10_000;

const messageType = { noop: 1, error: 2, done: 3, overrun: 4, firstOfFamily: 16 } as const;
const netlinkOption = { joinGroup: 1, capAcknowledgement: 10, extendedAcknowledgement: 11, strictCheck: 12 } as const;
const extendedFlag = { capped: 0x100, attributes: 0x200 } as const;
const extendedMessageAttribute = 1;
const familyNames: Readonly<Record<number, string>> = { 0: "route", 4: "sock_diag", 12: "netfilter" };

export class NetlinkSocket implements Disposable {
  readonly #socket: KernelSocket;
  readonly #family: string;
  readonly #buffer = new Uint8Array(datagramBytes);
  #sequence = 0;

  constructor(family: NetlinkFamily, options: NetlinkSocketOptions = {}) {
    this.#family = familyNames[family] ?? String(family);
    this.#socket = new KernelSocket(`netlink ${this.#family} socket`, addressFamily.netlink, socketType.raw, family);
    try {
      for (const option of [netlinkOption.capAcknowledgement, netlinkOption.extendedAcknowledgement])
        this.#socket.setOption(optionLevel.netlink, option, 1);
      if (family === netlinkFamily.route) this.#socket.setOption(optionLevel.netlink, netlinkOption.strictCheck, 1);
      this.#socket.setReceiveTimeout(options.receiveTimeoutMs ?? defaultReceiveTimeoutMs);
      this.#socket.bind(kernelAddress);
      for (const group of options.groups ?? [])
        this.#socket.setOption(optionLevel.netlink, netlinkOption.joinGroup, group);
    } catch (error) {
      this.#socket[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Asks for one thing, or orders it; returns the messages before the acknowledgement.
   * @param operation what the caller is doing, for the error: "create vxlan baton7"
   * @throws KernelError when the kernel refuses it or does not answer
   */
  request(type: number, flags: number, payload: Uint8Array, operation = `request ${type}`): readonly NetlinkMessage[] {
    const sequence = this.#send(type, flags | messageFlags.request | messageFlags.acknowledge, payload, operation);
    const answers: NetlinkMessage[] = [];
    while (answers.length <= maxAnswerMessages) {
      for (const message of this.#answers(sequence, operation)) {
        if (message.type !== messageType.error) {
          answers.push(message);
          continue;
        }
        throwIfRefused(message, operation);
        return answers;
      }
    }
    throw new KernelError(operation, "EMSGSIZE", `more than ${maxAnswerMessages} messages in one answer`);
  }

  /** Like {@link request}, with a refusal as a value, for where one is expected. */
  tryRequest(type: number, flags: number, payload: Uint8Array, operation: string): NetlinkOutcome {
    return outcomeOf(() => this.request(type, flags, payload, operation));
  }

  /**
   * One pass over a table, message by message as the kernel gives them; for tables that are too large to hold.
   * Returns whether the table changed meanwhile, so that entries may be missing or come twice.
   * No other call on this socket may be made before the end, and leaving the loop early costs the rest of the dump.
   */
  *stream(type: number, payload: Uint8Array, operation = `dump ${type}`): Generator<NetlinkMessage, DumpEnd, void> {
    const sequence = this.#send(type, messageFlags.request | messageFlags.dump, payload, operation);
    let interrupted = false;
    let done = false;
    try {
      while (!done) {
        for (const message of this.#answers(sequence, operation)) {
          if ((message.flags & messageFlags.dumpInterrupted) !== 0) interrupted = true;
          if (message.type === messageType.error || message.type === messageType.done) {
            done = true;
            if (message.payload.length >= 4) throwIfRefused(message, operation);
            break;
          }
          yield message;
        }
      }
    } finally {
      if (!done) this.#drain(sequence);
    }
    return { interrupted };
  }

  /**
   * A whole table as it was at one moment: passes that were interrupted are repeated, {@link maxDumpPasses} at most,
   * and the last one counts then.
   */
  dump(type: number, payload: Uint8Array, operation = `dump ${type}`): readonly NetlinkMessage[] {
    let messages: NetlinkMessage[] = [];
    for (let pass = 0; pass < maxDumpPasses; pass++) {
      messages = [];
      const entries = this.stream(type, payload, operation);
      let step = entries.next();
      while (step.done !== true) {
        messages.push(step.value);
        step = entries.next();
      }
      if (!step.value.interrupted) break;
    }
    return messages;
  }

  /** Like {@link dump}, with a refusal as a value, for where one is expected. */
  tryDump(type: number, payload: Uint8Array, operation: string): NetlinkOutcome {
    return outcomeOf(() => this.dump(type, payload, operation));
  }

  /** One datagram of events into `buffer`; see {@link datagramBytes} for its size. */
  receive(buffer: Uint8Array, flags = 0): Received {
    return this.#socket.receive(buffer, flags);
  }

  /** How long {@link receive} waits for a datagram. */
  setReceiveTimeout(timeoutMs: number): void {
    this.#socket.setReceiveTimeout(timeoutMs);
  }

  /** A program of classic BPF (struct sock_filter), which datagrams of events have to pass. */
  attachFilter(instructions: Uint8Array): void {
    this.#socket.attachFilter(instructions);
  }

  /** Bytes that the kernel granted: all of them with CAP_NET_ADMIN, else up to net.core.rmem_max. */
  setReceiveBuffer(bytes: number): number {
    if (this.#socket.trySetOption(optionLevel.socket, socketOption.receiveBufferForce, bytes) !== undefined)
      this.#socket.setOption(optionLevel.socket, socketOption.receiveBuffer, bytes);
    return this.#socket.getNumberOption(optionLevel.socket, socketOption.receiveBuffer);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #send(type: number, flags: number, payload: Uint8Array, operation: string): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const errno = this.#socket.send(encodeMessage({ type, flags, sequence: this.#sequence }, payload), kernelAddress);
    if (errno !== undefined) throw new KernelError(operation, errno);
    return this.#sequence;
  }

  /** The messages of the next datagram that belong to a request; others are from requests that were given up. */
  #answers(sequence: number, operation: string): readonly NetlinkMessage[] {
    const received = this.#socket.receive(this.#buffer, 0);
    if (received === "empty") throw new KernelError(operation, "ETIMEDOUT", "the kernel did not answer");
    if (received === "overflow") throw new KernelError(operation, "ENOBUFS");
    if (received > this.#buffer.length) throw new KernelError(operation, "EMSGSIZE", `datagram of ${received} bytes`);
    const messages = decodeMessages(this.#buffer.slice(0, received));
    if (messages === undefined) throw new KernelError(operation, "EBADMSG", "malformed netlink datagram");
    return messages.filter((message) => message.sequence === sequence && message.type !== messageType.noop);
  }

  /** The kernel goes on with a dump for as long as it is read, and refuses the next one until then. */
  #drain(sequence: number): void {
    for (;;) {
      const received = this.#socket.receive(this.#buffer, 0);
      if (typeof received !== "number" || received > this.#buffer.length) return;
      const messages = decodeMessages(this.#buffer.subarray(0, received)) ?? [];
      if (messages.some((message) => message.sequence === sequence && endsDump(message))) return;
    }
  }
}

export interface DumpEnd {
  readonly interrupted: boolean;
}

export type NetlinkOutcome =
  | { readonly ok: true; readonly messages: readonly NetlinkMessage[] }
  | { readonly ok: false; readonly error: KernelError };

function outcomeOf(call: () => readonly NetlinkMessage[]): NetlinkOutcome {
  try {
    return { ok: true, messages: call() };
  } catch (error) {
    if (error instanceof KernelError) return { ok: false, error };
    throw error;
  }
}

/** What an NLMSG_ERROR or NLMSG_DONE says: its errno and the kernel's words, or `undefined` when all is well. */
function refusalOf(message: NetlinkMessage): { errno: ErrnoName; detail: string } | undefined {
  if (message.payload.length < 4) return { errno: "EBADMSG", detail: "malformed acknowledgement" };
  const error = viewOf(message.payload).getInt32(0, true);
  return error === 0 ? undefined : { errno: errnoName(Math.abs(error)), detail: extendedDetail(message) };
}

function extendedDetail(message: NetlinkMessage): string {
  if ((message.flags & extendedFlag.attributes) === 0) return "";
  const start = message.type === messageType.done ? 4 : acknowledgedBytes(message);
  return decodeAttributes(message.payload.subarray(start))?.text(extendedMessageAttribute) ?? "";
}

/** The errno, then the header of the request, then its body where it was not left out. */
function acknowledgedBytes(message: NetlinkMessage): number {
  const headerEnd = 20;
  if ((message.flags & extendedFlag.capped) !== 0 || message.payload.length < headerEnd) return headerEnd;
  return 4 + ((viewOf(message.payload).getUint32(4, true) + 3) & ~3);
}

function throwIfRefused(message: NetlinkMessage, operation: string): void {
  const refusal = refusalOf(message);
  if (refusal !== undefined) throw new KernelError(operation, refusal.errno, refusal.detail);
}

function endsDump(message: NetlinkMessage): boolean {
  return message.type === messageType.done || message.type === messageType.error;
}

/** sockaddr_nl of port 0: the kernel as a destination, "choose one for me" in bind. */
const kernelAddress = concatBytes([Uint8Array.of(addressFamily.netlink, 0), new Uint8Array(10)]);
