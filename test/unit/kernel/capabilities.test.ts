import { describe, expect, it } from "vitest";
import { missingCapabilities } from "../../../src/kernel/capabilities.ts";

const status = (effective: string): string => `Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t${effective}\n`;

describe("the capabilities of a process", () => {
  it.each([
    ["of root", "000001ffffffffff", []],
    ["of a container that may only do this", "0000000000003000", []],
    ["without raw sockets", "0000000000001000", ["CAP_NET_RAW"]],
    ["without a hold on the network", "000001ffffffefff", ["CAP_NET_ADMIN"]],
    ["of a common user", "0000000000000000", ["CAP_NET_ADMIN", "CAP_NET_RAW"]],
  ])("%s are told by what is missing", (_, effective, missing) => {
    expect(missingCapabilities(status(effective))).toEqual(missing);
  });

  it("are none where the kernel does not tell", () => {
    expect(missingCapabilities("Name:\tnode\n")).toHaveLength(2);
  });
});
