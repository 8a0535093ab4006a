import { describe, expect, it } from "vitest";
import type { IpAddress } from "../../../src/flow/address.ts";
import { decodeSocket, destroyRequest, listRequest, localAddressMatcher } from "../../../src/kernel/sock-diag-codec.ts";
import { bytesOf } from "./conntrack-fixtures.ts";

/** Answers as a kernel (6.18) gave them, without netlink header. */
const answer = {
  ipv4: "02010000eb781f907f0000010000000000000000000000007f00000100000000000000000000000000000000022000000000000000000000000000000000000000000000da710000050008000000000008000f00000000000c00150001000000000000000600160052000000",
  mapped:
    "0a0100001f90eb7800000000000000000000ffff7f00000100000000000000000000ffff7f00000100000000092000000000000000000000000000000000000000000000db710000050008000000000008000f00000000000c00150001000000000000000600160012000000",
  ipv6: "0a0100001f908620000000000000000000000000000000010000000000000000000000000000000100000000062000000000000000000000000000000000000000000000dd710000050008000000000008000f00000000000c00150001000000000000000600160012000000",
  timeWait:
    "02060300eb861f907f0000010000000000000000000000007f000001000000000000000000000000000000000320000000000000fce900000000000000000000000000000000000008000f0000000000",
  listener:
    "0a0a00001f90000000000000000000000000000000000000000000000000000000000000000000000000000004200000000000000000000000000000ff01000000000000d8710000050008000000000005000b000000000008000f00000000000c00150001000000000000000600160012000000",
  ipv6OnlyListener:
    "0a0a00001f92000000000000000000000000000000000000000000000000000000000000000000000000000005200000000000000000000000000000ff01000000000000d9710000050008000000000005000b000100000008000f00000000000c00150001000000000000000600160012000000",
};

const whole = {
  local: "127.0.0.1",
  localPort: 60_280,
  remote: "127.0.0.1",
  remotePort: 8080,
  state: "ESTABLISHED",
  socketFamily: 4,
  inode: 0x71da,
  uid: 0,
  mark: 0,
  device: 0,
  cookie: 0x2002n,
  ipv6Only: false,
};

describe("decodeSocket", () => {
  it("reads an IPv4 socket", () => {
    expect(decodeSocket(bytesOf(answer.ipv4))).toEqual(whole);
  });

  it("gives a mapped socket its IPv4 addresses, and says that it is one of AF_INET6", () => {
    expect(decodeSocket(bytesOf(answer.mapped))).toMatchObject({
      local: "127.0.0.1",
      localPort: 8080,
      remote: "127.0.0.1",
      remotePort: 60_280,
      socketFamily: 6,
    });
  });

  it("reads IPv6, TIME_WAIT and listeners", () => {
    expect(decodeSocket(bytesOf(answer.ipv6))).toMatchObject({ local: "::1", remote: "::1", socketFamily: 6 });
    expect(decodeSocket(bytesOf(answer.timeWait))).toMatchObject({ state: "TIME_WAIT", inode: 0, localPort: 60_294 });
    expect(decodeSocket(bytesOf(answer.listener))).toMatchObject({ state: "LISTEN", local: "::", ipv6Only: false });
    expect(decodeSocket(bytesOf(answer.ipv6OnlyListener))).toMatchObject({ localPort: 8082, ipv6Only: true });
  });

  it("reads the kernel's request sockets as SYN_RECV", () => {
    for (const state of [3, 12]) {
      expect(decodeSocket(bytesOf(answer.timeWait).fill(state, 1, 2))?.state).toBe("SYN_RECV");
    }
  });

  it.each<[string, Uint8Array]>([
    ["a short answer", bytesOf(answer.ipv4).subarray(0, 71)],
    ["a family that it does not know", bytesOf(answer.ipv4).fill(1, 0, 1)],
    ["a state that it does not know", bytesOf(answer.ipv4).fill(200, 1, 2)],
    ["an attribute that is too long", bytesOf(answer.ipv4).fill(0xff, 72, 74)],
  ])("gives nothing for %s", (_what, bytes) => {
    expect(decodeSocket(bytes)).toBeUndefined();
  });
});

describe("requests", () => {
  it("ask for the states by their bits, request sockets with SYN_RECV", () => {
    const bytes = listRequest(6, ["ESTABLISHED", "SYN_RECV"]);
    expect([bytes.length, bytes[0], bytes[1]]).toEqual([56, 10, 6]);
    expect(new DataView(bytes.buffer).getUint32(4, true)).toBe((1 << 1) | (1 << 3) | (1 << 12));
  });

  it.each(["ipv4", "mapped", "ipv6"] as const)(
    "name a %s socket for its destruction as the kernel named it",
    (kind) => {
      const bytes = bytesOf(answer[kind]);
      const socket = decodeSocket(bytes);
      expect(socket).toBeDefined();
      if (socket === undefined) return;
      const request = destroyRequest(socket);
      expect(request[0]).toBe(bytes[0]);
      expect(Buffer.from(request.subarray(8, 56)).toString("hex")).toBe(
        Buffer.from(bytes.subarray(4, 52)).toString("hex"),
      );
    },
  );
});

describe("localAddressMatcher", () => {
  const matches = (address: string) =>
    (["ipv4", "mapped", "ipv6"] as const).filter((kind) =>
      localAddressMatcher(address as IpAddress)(bytesOf(answer[kind])),
    );

  it("finds an IPv4 address in sockets of both families, and an IPv6 one in its own", () => {
    expect(matches("127.0.0.1")).toEqual(["ipv4", "mapped"]);
    expect(matches("::1")).toEqual(["ipv6"]);
    expect(matches("127.0.0.2")).toEqual([]);
    expect(matches("2001:db8::7f00:1")).toEqual([]);
  });
});
