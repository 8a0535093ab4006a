/**
 * Sockets that Node does not offer, by calling the C library.
 *
 * Owns the file descriptors: one {@link KernelSocket} each, closed once. All calls are synchronous and, but for
 * {@link KernelSocket.receive} on a socket with a timeout, do not wait. x64 and arm64 Linux: little-endian, 64 bits.
 */
import koffi from "koffi";
import { type ErrnoName, errnoName, KernelError } from "./kernel-error.ts";

const libc = koffi.load(null);
const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cBind = libc.func("int bind(int fd, const void *address, unsigned int length)");
const cSendTo = libc.func(
  "intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, unsigned int addressLength)",
);
const cReceive = libc.func("intptr_t recv(int fd, void *buffer, size_t length, int flags)");
const cSetOption = libc.func("int setsockopt(int fd, int level, int name, const void *value, unsigned int length)");
const cGetOption = libc.func("int getsockopt(int fd, int level, int name, void *value, void *length)");
/** struct sock_fprog */
koffi.struct("sock_fprog", { length: "uint16_t", instructions: "const void *" });
const cAttachFilter = libc.func(
  "int setsockopt(int fd, int level, int name, const sock_fprog *program, unsigned int length)",
);
const cMemoryFile = libc.func("int memfd_create(const char *name, unsigned int flags)");
const cClose = libc.func("int close(int fd)");

export const addressFamily = { inet: 2, inet6: 10, netlink: 16 } as const;
export const socketType = { raw: 3 } as const;
export const messageFlag = { truncate: 0x20, dontWait: 0x40 } as const;
export const optionLevel = { socket: 1, netlink: 270 } as const;
export const socketOption = {
  receiveBuffer: 8,
  attachFilter: 26,
  receiveTimeout: 20,
  receiveBufferForce: 33,
  mark: 36,
  networkCookie: 71,
} as const;

/** Signals that may interrupt one call before it is given up. */
const maxInterrupts = 100;
const filterProgramBytes = 16;
const bytesPerInstruction = 8;
const closeOnExec = 0o2000000;

/** Bytes of the datagram (more than the buffer holds if it was cut), or why there is none. */
export type Received = number | "empty" | "overflow";

export class KernelSocket implements Disposable {
  readonly #what: string;
  #fd: number;

  /** @param what for errors: "netlink route socket" */
  constructor(what: string, domain: number, type: number, protocol: number) {
    this.#what = what;
    this.#fd = cSocket(domain, type | closeOnExec, protocol);
    if (this.#fd < 0) throw this.#error("open");
  }

  bind(address: Uint8Array): void {
    if (cBind(this.#fd, address, address.length) < 0) throw this.#error("bind");
  }

  /** Never waits. The errno is a value here, for what can be sent depends on the bytes and on the network. */
  send(bytes: Uint8Array, address: Uint8Array): ErrnoName | undefined {
    for (let attempt = 0; attempt < maxInterrupts; attempt++) {
      const sent = cSendTo(this.#fd, bytes, bytes.length, messageFlag.dontWait, address, address.length);
      if (sent === bytes.length) return undefined;
      if (sent >= 0) return "EMSGSIZE";
      const errno = errnoName(koffi.errno());
      if (errno !== "EINTR") return errno;
    }
    return "EINTR";
  }

  /** Waits for the receive timeout of the socket at most, or not at all with {@link messageFlag.dontWait}. */
  receive(buffer: Uint8Array, flags: number): Received {
    for (let attempt = 0; attempt < maxInterrupts; attempt++) {
      const length = cReceive(this.#fd, buffer, buffer.length, flags | messageFlag.truncate);
      if (length >= 0) return length;
      const errno = errnoName(koffi.errno());
      if (errno === "EAGAIN") return "empty";
      if (errno === "ENOBUFS") return "overflow";
      if (errno !== "EINTR") throw new KernelError(`receive on ${this.#what}`, errno);
    }
    return "empty";
  }

  /** Lets only those datagrams through that the program of classic BPF accepts; `instructions`: struct sock_filter each. */
  attachFilter(instructions: Uint8Array): void {
    const program = { length: instructions.length / bytesPerInstruction, instructions };
    if (cAttachFilter(this.#fd, optionLevel.socket, socketOption.attachFilter, program, filterProgramBytes) < 0)
      throw this.#error("attach a filter to");
  }

  setOption(level: number, name: number, value: number | Uint8Array): void {
    const errno = this.trySetOption(level, name, value);
    if (errno !== undefined) throw new KernelError(`set option ${level}/${name} of ${this.#what}`, errno);
  }

  trySetOption(level: number, name: number, value: number | Uint8Array): ErrnoName | undefined {
    const bytes = typeof value === "number" ? int32Bytes(value) : value;
    if (cSetOption(this.#fd, level, name, bytes, bytes.length) < 0) return errnoName(koffi.errno());
    return undefined;
  }

  getNumberOption(level: number, name: number): number {
    const value = new Int32Array(1);
    const errno = this.tryGetOption(level, name, value);
    if (errno !== undefined) throw new KernelError(`get option ${level}/${name} of ${this.#what}`, errno);
    return value[0] ?? 0;
  }

  /** Into `value`, which is as long as the option. */
  tryGetOption(level: number, name: number, value: Int32Array | Uint8Array): ErrnoName | undefined {
    const length = Uint32Array.of(value.byteLength);
    return cGetOption(this.#fd, level, name, value, length) < 0 ? errnoName(koffi.errno()) : undefined;
  }

  /** After it {@link receive} gives "empty" when nothing came for so long. */
  setReceiveTimeout(timeoutMs: number): void {
    const seconds = Math.floor(timeoutMs / 1000);
    const timeval = BigInt64Array.of(BigInt(seconds), BigInt(Math.round((timeoutMs - seconds * 1000) * 1000)));
    this.setOption(optionLevel.socket, socketOption.receiveTimeout, new Uint8Array(timeval.buffer));
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    cClose(this.#fd);
    this.#fd = -1;
  }

  #error(verb: string): KernelError {
    return new KernelError(`${verb} ${this.#what}`, errnoName(koffi.errno()));
  }
}

/** Descriptor of a new empty file that has no name in any directory; the caller closes it. */
export function openMemoryFile(name: string): number {
  const file = cMemoryFile(name, 1);
  if (file < 0) throw new KernelError("open a file in memory", errnoName(koffi.errno()));
  return file;
}

function int32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
  return bytes;
}
