/** Blocking TCP sockets of the C library: a connection costs a few system calls, where Node's costs a turn of the loop. */
import koffi from "koffi";

const libc = koffi.load(null);
const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cBind = libc.func("int bind(int fd, const void *address, unsigned int length)");
const cConnect = libc.func("int connect(int fd, const void *address, unsigned int length)");
const cListen = libc.func("int listen(int fd, int backlog)");
const cAccept = libc.func("int accept4(int fd, void *address, void *length, int flags)");
const cSetOption = libc.func("int setsockopt(int fd, int level, int name, const void *value, unsigned int length)");
const cClose = libc.func("int close(int fd)");

const inet = 2;
const stream = 1;
const optionLevelSocket = 1;
const reuseAddress = 2;
const backlog = 4_096;

/** struct sockaddr_in */
export function endpoint(address: string, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes[0] = inet;
  bytes[2] = port >> 8;
  bytes[3] = port & 0xff;
  bytes.set(address.split(".").map(Number), 4);
  return bytes;
}

/** A descriptor; undefined: refused, timed out, or no port or descriptor left. */
export function connect(to: Uint8Array): number | undefined {
  const fd = cSocket(inet, stream, 0);
  if (fd < 0) return undefined;
  if (cConnect(fd, to, to.length) === 0) return fd;
  cClose(fd);
  return undefined;
}

export function close(fd: number): void {
  cClose(fd);
}

export function listen(at: Uint8Array): number {
  const fd = cSocket(inet, stream, 0);
  const yes = new Uint8Array([1, 0, 0, 0]);
  cSetOption(fd, optionLevelSocket, reuseAddress, yes, yes.length);
  if (fd < 0 || cBind(fd, at, at.length) < 0 || cListen(fd, backlog) < 0)
    throw new Error(`can't listen (errno ${koffi.errno()})`);
  return fd;
}

/** Takes the next connection, waiting for it. */
export function accept(listener: number): number | undefined {
  const fd = cAccept(listener, null, null, 0);
  return fd < 0 ? undefined : fd;
}
