/**
 * Names the run of the kernel's network that this process is in: the kernel's boot, and its network namespace. Sockets
 * and connection tracking live in it and end with it, so where the name is another, no connection of before is left.
 */
import { readFileSync } from "node:fs";
import { addressFamily, KernelSocket, optionLevel, socketOption, socketType } from "./libc.ts";
import { netlinkFamily } from "./netlink.ts";

const cookieBytes = 8;

/** Hexadecimal, 48 digits: boot id, then the namespace's cookie, which a boot gives out once; 0 before Linux 5.14. */
export function networkIdentity(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim().replaceAll("-", "");
  using socket = new KernelSocket("netlink socket", addressFamily.netlink, socketType.raw, netlinkFamily.route);
  const cookie = new Uint8Array(cookieBytes);
  socket.tryGetOption(optionLevel.socket, socketOption.networkCookie, cookie);
  return `${boot}${Buffer.from(cookie).toString("hex")}`;
}
