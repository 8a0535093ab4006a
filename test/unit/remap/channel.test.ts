import { describe, expect, it } from "vitest";
import type { NodeHello } from "../../../src/node/status.ts";
import { chooseChannel, freeLinks } from "../../../src/remap/channel.ts";
import { ip, prefix } from "../../support/fake-cluster.ts";

const fabric = [prefix("10.77.0.0/16")];

function hello(
  name: string,
  address: string,
  options: { mtu?: number; mac?: string; length?: number; channels?: ["vxlan"] | [] } = {},
): NodeHello {
  const { mtu = 1500, mac = "02:00:00:00:00:01", length = 24, channels = ["vxlan"] } = options;
  const devices = [
    { name: "eth0", linkAddress: mac, mtu, addresses: [{ address: ip(address), prefixLength: length }] },
  ];
  return {
    name,
    kind: "agent",
    boot: "",
    version: "",
    devices,
    privateAddresses: [ip(address)],
    channels,
    publicMtu: 0,
  };
}

function gateway(fabricMtu: number, publicMtu: number): NodeHello {
  return { ...hello("gw", "10.77.0.1", { mtu: fabricMtu }), kind: "gateway", publicMtu };
}

const owner = (options = {}) => ({ hello: hello("a", "10.77.0.11", options), private: ip("10.77.0.11") });
const near = (options = {}) => ({ hello: hello("b", "10.77.0.12", options), private: ip("10.77.0.12") });
const far = (options = {}) => ({ hello: hello("c", "10.77.9.13", options), private: ip("10.77.9.13") });

function refusal(choice: ReturnType<typeof chooseChannel>) {
  if (choice.ok) throw new Error(`not refused: ${choice.channel.kind}`);
  return choice.refusal;
}

describe("the channel", () => {
  it("is direct between neighbours, and carries what fits their devices", () => {
    const choice = chooseChannel("auto", owner(), near(), [gateway(1500, 1500)], fabric);
    expect(choice).toMatchObject({ ok: true, channel: { kind: "direct", mtu: 1500, packetSize: 1500 } });
  });

  it("is vxlan elsewhere, when the fabric has room for its headers", () => {
    const choice = chooseChannel("auto", owner({ mtu: 9000 }), far({ mtu: 9000 }), [gateway(9000, 1500)], fabric);
    expect(choice).toMatchObject({ ok: true, channel: { kind: "vxlan", mtu: 8950, packetSize: 1500 } });
  });

  it("is refused with the numbers when existing connections' packets would not fit", () => {
    const choice = chooseChannel("auto", owner(), far(), [gateway(1500, 1500)], fabric);
    expect(refusal(choice)).toMatchObject({ code: "MTU_TOO_SMALL" });
    expect(refusal(choice).message).toMatch(/up to 1500 bytes.*carries 1450.*1550/);
    expect(refusal(chooseChannel("auto", owner(), near({ mtu: 1400 }), [gateway(1500, 1500)], fabric)).code).toBe(
      "MTU_TOO_SMALL",
    );
  });

  it("needs to carry no more than the smallest gateway and the owner let through", () => {
    const sizes = [gateway(1500, 1500), gateway(1500, 1400), gateway(1440, 1500)];
    const choice = chooseChannel("vxlan", owner(), near(), sizes, fabric);
    expect(choice).toMatchObject({ ok: true, channel: { mtu: 1450, packetSize: 1400 } });
    expect(chooseChannel("direct", owner({ mtu: 1300 }), near(), sizes, fabric)).toMatchObject({
      channel: { packetSize: 1300 },
    });
  });

  it.each([
    [
      "direct without neighbours",
      chooseChannel("direct", owner(), far(), [], fabric),
      "CHANNEL_UNAVAILABLE",
      "not neighbours",
    ],
    [
      "direct when only one end sees a neighbour",
      chooseChannel("direct", owner({ length: 16 }), far(), [], fabric),
      "CHANNEL_UNAVAILABLE",
      "not neighbours",
    ],
    [
      "direct without a link-layer address",
      chooseChannel("direct", owner(), near({ mac: "" }), [], fabric),
      "CHANNEL_UNAVAILABLE",
      "no link-layer address",
    ],
    [
      "vxlan that a kernel lacks",
      chooseChannel("vxlan", owner(), far({ channels: [] }), [], fabric),
      "CHANNEL_UNAVAILABLE",
      "kernel of c has no vxlan",
    ],
    [
      "kinds that are not built",
      chooseChannel("wireguard", owner(), near(), [], fabric),
      "UNSUPPORTED",
      "direct, vxlan or auto",
    ],
    [
      "an address on no device",
      chooseChannel("auto", { ...owner(), private: ip("10.77.0.99") }, near(), [], fabric),
      "CHANNEL_UNAVAILABLE",
      "no device",
    ],
  ])("refuses %s", (_what, choice, code, word) => {
    expect(refusal(choice).code).toBe(code);
    expect(refusal(choice).message).toContain(word);
  });
});

describe("link ids", () => {
  it("are neither in use nor lately given out, while there are others", () => {
    expect(freeLinks(2, new Set([1, 3]), [2])).toEqual([4, 5]);
  });

  it("come again oldest first when all others are used up", () => {
    const used = new Set(Array.from({ length: 1020 }, (_, index) => index + 1));
    expect(freeLinks(3, used, [1023, 7, 1021])).toEqual([1022, 1023, 1021]);
    expect(freeLinks(5, used, [])).toEqual([1021, 1022, 1023]);
  });
});
