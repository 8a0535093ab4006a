import { describe, expect, it } from "vitest";
import { canVxlan } from "../../../services/agent/routing-kernel.ts";
import { type ErrnoName, KernelError } from "../../../src/kernel/kernel-error.ts";
import { linkMessage } from "../../../src/kernel/link.ts";
import type { NetlinkSocket } from "../../../src/kernel/netlink.ts";

/** A kernel that knows no device, and refuses to make one. */
function refusing(errno: ErrnoName): NetlinkSocket {
  const missing = { ok: false, error: new KernelError("find device", "ENODEV") };
  const socket = {
    tryRequest: () => missing,
    tryDump: () => ({ ok: true, messages: [] }),
    dump: () => [],
    request(type: number) {
      if (type === linkMessage.create) throw new KernelError("create vxlan baton0", errno);
      return [];
    },
  };
  return socket as unknown as NetlinkSocket;
}

describe("what a kernel can do", () => {
  it("has no vxlan where the kernel does not know that kind of device", () => {
    expect(canVxlan(refusing("EOPNOTSUPP"))).toBe(false);
  });

  it("is not guessed from another failure", () => {
    expect(() => canVxlan(refusing("EPERM"))).toThrow(/EPERM/);
  });
});
