import { describe, expect, it } from "vitest";
import { NodeHello as HelloMessage, NodeStatus as StatusMessage } from "../../../src/gen/baton/v1/node.ts";
import { emptyStatus, type NodeHello, type NodeStatus } from "../../../src/node/status.ts";
import { helloFromProto, helloToProto, statusFromProto, statusToProto } from "../../../src/rpc/report-codec.ts";
import { ip } from "./remap-samples.ts";

const fence = { term: 1n, leader: "c1", generation: 2n, digest: "ab".repeat(32) };

const hello: NodeHello = {
  name: "vm-a",
  kind: "agent",
  boot: "0123456789abcdef".repeat(2),
  kernel: "fedcba9876543210".repeat(3),
  version: "0.1.0",
  held: fence,
  devices: [
    {
      name: "eth0",
      linkAddress: "02:00:00:00:00:01",
      mtu: 1500,
      addresses: [
        { address: ip("10.77.0.11"), prefixLength: 24 },
        { address: ip("fd77::11"), prefixLength: 64 },
      ],
    },
    { name: "lo", linkAddress: "", mtu: 65_536, addresses: [] },
  ],
  privateAddresses: [ip("10.77.0.11"), ip("10.77.0.111")],
  channels: ["direct", "vxlan"],
  publicMtu: 0,
};

const status: NodeStatus = {
  applied: fence,
  faults: [
    { code: "NODE_FAILED", message: "nft: no such table", address: ip("203.0.113.10"), fence },
    { code: "INTERNAL", message: "x" },
  ],
  marks: [{ id: "m1", positions: [{ shard: 3, sequence: 2n ** 40n }], flows: 200 }],
  loads: [{ id: "l1", entries: 200 }],
  proofs: [{ id: "p1", sender: "gw1", mtu: 1500 }],
  drains: [
    { address: ip("203.0.113.10"), generation: 2n, open: 5, atSwitch: 0, opened: 1, cut: 0 },
    { address: ip("203.0.113.11"), generation: 2n, open: 5, opened: 1, cut: 0 },
  ],
  links: [
    {
      id: 7,
      followedPackets: 1n,
      followedBytes: 2n ** 60n,
      returnedPackets: 3n,
      returnedBytes: 4n,
      unknownPackets: 5n,
      refusedPackets: 6n,
      superseded: 7n,
      probesSent: 8n,
      probesAnswered: 9n,
    },
  ],
  hosting: { readiness: "draining", shards: [0, 31], vacated: false, takers: 2 },
  retired: [ip("10.77.0.11")],
};

describe("what a node reports", () => {
  it("comes back as it was sent", () => {
    const helloBytes = HelloMessage.encode(helloToProto(hello)).finish();
    expect(helloFromProto(HelloMessage.decode(helloBytes))).toEqual({ ok: true, value: hello });
    const statusBytes = StatusMessage.encode(statusToProto(status)).finish();
    expect(statusFromProto(StatusMessage.decode(statusBytes))).toEqual({ ok: true, value: status });
    expect(statusFromProto(statusToProto(emptyStatus))).toEqual({ ok: true, value: emptyStatus });
  });

  it("tells zero connections at the switch from none counted yet", () => {
    const decoded = statusFromProto(statusToProto(status));
    expect(decoded.ok && decoded.value.drains.map((drain) => drain.atSwitch)).toEqual([0, undefined]);
  });

  it("is read where it says of its hosting what only a later version has a word for, as of a host that takes no shards (M15)", () => {
    const sent = { ...statusToProto(status), hosting: { readiness: "later", shards: [3], vacated: false, takers: 1 } };
    const hosting = { readiness: "closed", shards: [3], vacated: false, takers: 1 };
    expect(statusFromProto(sent)).toEqual({ ok: true, value: { ...status, hosting } });
  });

  it("is refused where it makes no sense, naming the field", () => {
    expect(helloFromProto({ ...helloToProto(hello), boot: Buffer.alloc(15) })).toEqual({
      ok: false,
      message: "boot: expected 16 bytes, found 15 bytes",
    });
    expect(helloFromProto({ ...helloToProto(hello), name: "" })).toMatchObject({ ok: false });
    expect(helloFromProto({ ...helloToProto(hello), kind: 0 })).toEqual({
      ok: false,
      message: "kind: expected one of agent, gateway, found 0",
    });
    const device = { name: "eth0", linkAddress: Buffer.alloc(0), mtu: 1500, addresses: ["10.77.0.11"] };
    expect(helloFromProto({ ...helloToProto(hello), devices: [device] })).toMatchObject({
      ok: false,
      message: expect.stringContaining("devices[0].addresses[0]"),
    });
    expect(statusFromProto({ ...statusToProto(status), retired: ["x"] })).toMatchObject({ ok: false });
    const [drain] = statusToProto(status).drains;
    const huge = drain === undefined ? [] : [{ ...drain, open: 2n ** 60n }];
    expect(statusFromProto({ ...statusToProto(status), drains: huge })).toMatchObject({
      ok: false,
      message: expect.stringContaining("drains[0].open"),
    });
  });

  it("loses control characters of its texts, which would disturb logs and terminals", () => {
    const message = statusToProto({
      ...emptyStatus,
      faults: [{ code: "NODE_FAILED", message: "bad \u001b[2J end\nnext" }],
    });
    const decoded = statusFromProto(message);
    expect(decoded.ok && decoded.value.faults[0]?.message).toBe("bad �[2J end\nnext");
  });
});
