import { describe, expect, it } from "vitest";
import { hostPortOf, parseMemberAddress } from "../../../src/gossip/address.ts";
import { decodeMetadata, encodeMetadata } from "../../../src/gossip/metadata.ts";

describe("a member's address", () => {
  it("is canonical once it is parsed", () => {
    expect(parseMemberAddress("10.0.0.1:7946")).toBe("10.0.0.1:7946");
    expect(parseMemberAddress("[FD00:0:0::1]:7946")).toBe("[fd00::1]:7946");
    expect(hostPortOf("[fd00::1]:7946")).toEqual({ host: "fd00::1", port: 7946 });
  });

  it.each(["", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.256:1", "[10.0.0.1]:1", "fd00::1:7946", "host:1"])(
    "is not %j",
    (text) => {
      expect(parseMemberAddress(text)).toBeUndefined();
    },
  );
});

describe("a member's metadata", () => {
  const metadata = { roles: ["tracker", "agent"], services: { grpc: "10.0.0.1:7700" }, labels: { zone: "a" } } as const;

  it("come back as they were", () => {
    const encoded = encodeMetadata(metadata);
    expect(encoded.ok && decodeMetadata(encoded.bytes)).toEqual(metadata);
  });

  it("tell whether it takes shards, and of who does not say so nothing", () => {
    for (const hosting of ["closed", "draining"] as const) {
      const encoded = encodeMetadata({ ...metadata, hosting });
      expect(encoded.ok && decodeMetadata(encoded.bytes)).toEqual({ ...metadata, hosting });
    }
    expect(decodeMetadata(new TextEncoder().encode("[1,[1],{},{}]"))).not.toHaveProperty("hosting");
  });

  it("are read whole where a later version says of its hosting what has no word here: it is given no shards (M15)", () => {
    for (const text of ['[1,[1],{"grpc":"a:1"},{"zone":"b"},"later"]', '[1,[1],{"grpc":"a:1"},{"zone":"b"},9]'])
      expect(decodeMetadata(new TextEncoder().encode(text))).toEqual({
        ...{ roles: ["tracker"], services: { grpc: "a:1" }, labels: { zone: "b" } },
        hosting: "closed",
      });
  });

  it("larger than 512 bytes are refused with the figure", () => {
    const labels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`label${index}`, "x".repeat(40)]));
    expect(encodeMetadata({ ...metadata, labels })).toMatchObject({
      ok: false,
      message: expect.stringMatching(/\d+ bytes/),
    });
  });

  it("that can't be read are those of a member without roles", () => {
    const none = { roles: [], services: {}, labels: {} };
    for (const text of ["", "{", "[9]", "[1,5,7,null]", '["1"]'])
      expect(decodeMetadata(new TextEncoder().encode(text))).toEqual(none);
  });
});
