/** What this process may do to the host's network (capabilities(7)). */
import { readFileSync } from "node:fs";
import { KernelError } from "./kernel-error.ts";

const bits = { CAP_NET_ADMIN: 12n, CAP_NET_RAW: 13n } as const;

/** @throws KernelError EPERM that names what is missing */
export function requireNetworkCapabilities(): void {
  const missing = missingCapabilities(readFileSync("/proc/self/status", "utf8"));
  if (missing.length > 0)
    throw new KernelError("work on this host's network", "EPERM", `without ${missing.join(", ")}`);
}

/** @param status content of /proc/PID/status */
export function missingCapabilities(status: string): readonly string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(bits).flatMap(([name, bit]) => (((effective >> bit) & 1n) === 1n ? [] : [name]));
}
