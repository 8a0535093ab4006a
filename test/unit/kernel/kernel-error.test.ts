import { describe, expect, it } from "vitest";
import { errnoName, KernelError } from "../../../src/kernel/kernel-error.ts";

describe("errors of the kernel", () => {
  it("have the usual name of their number", () => {
    expect([1, 2, 11, 95, 105, 110].map(errnoName)).toEqual([
      "EPERM",
      "ENOENT",
      "EAGAIN",
      "EOPNOTSUPP",
      "ENOBUFS",
      "ETIMEDOUT",
    ]);
    expect(errnoName(4_000)).toBe("E4000");
  });

  it("say what failed, why, and what to do", () => {
    const error = new KernelError("create vxlan baton7", "EPERM");
    expect(error.message).toMatch(/^create vxlan baton7: EPERM; run as root, .*CAP_NET_ADMIN/);
  });

  it("carry the kernel's own words", () => {
    const error = new KernelError("add rule", "EINVAL", "Invalid prefix");
    expect(error).toMatchObject({ detail: "Invalid prefix", message: "add rule: EINVAL (Invalid prefix)" });
  });
});
